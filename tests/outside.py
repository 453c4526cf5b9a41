"""What tests use from outside the Python environment; where it is absent they skip and say what to install.

Libraries are not among it: they come with the extra ``dev``, and ``conftest.py`` leaves out the folders that
need another extra.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from analyses import ROOT


def program(name: str, debian: str) -> str:
    """Path of a program that comes with a Debian package."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name} (Debian: {debian})")
    return found


def file(path: Path, debian: str) -> Path:
    """A file that comes with a Debian package."""
    if not path.exists():
        pytest.skip(f"needs {path} (Debian: {debian})")
    return path


def interpreter(variable: str, libraries: str, environment: str | None = None) -> Path:
    """A Python with libraries that cannot stand beside those of the tests.

    Parameters
    ----------
    variable
        The environment variable that names it.
    libraries
        What it has to have.
    environment
        What make builds for it in the checkout, such as ".venv-deploy".
    """
    usual = ROOT / environment / "bin" / "python" if environment else None
    found = os.environ.get(variable, usual)
    if found is None or not Path(found).exists():
        pytest.skip(f"needs a Python with {libraries}: set {variable}")
    return Path(found)


def shared(name: str) -> Path:
    """Weights or images beside the checkout, which stay out of the repository."""
    path = ROOT.parent / "shared" / name
    if not path.exists():
        pytest.skip(f"needs ../shared/{name}")
    return path


@contextmanager
def small_file_system(folder: Path, size: str) -> Iterator[Path]:
    """A file system in a folder of its own, for a disk that fills."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, to mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
