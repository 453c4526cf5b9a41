"""Versions of what computed a result."""

from __future__ import annotations

import platform
from importlib.metadata import version

from monai_bone_ssl import __version__

__all__ = ["software"]


def software(*libraries: str) -> dict[str, str]:
    """Versions of this package, of Python and of distributions, by name."""
    versions = {library: version(library) for library in libraries}
    return {"monai-bone-ssl": __version__, "python": platform.python_version(), **versions}
