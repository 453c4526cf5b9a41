"""The image files under a folder."""

from __future__ import annotations

import os
from pathlib import Path

from monai_bone_ssl.dicom.collect import find_files
from monai_bone_ssl.errors import ConfigError, CorruptImage, ReasonCode

__all__ = ["image_files"]


def image_files(root: Path) -> list[Path]:
    """Every file under a folder, each once, sorted; what is hidden (``._image1.png``, ``.cache/``) left out.

    Raises
    ------
    ConfigError
        Where a folder or file cannot be read.
    """
    files = []
    for source in find_files([root], skip=Path(os.devnull)):  # nothing to skip
        if any(name.startswith(".") for name in source.path.relative_to(root).parts):
            continue
        if isinstance(source.error, CorruptImage):
            raise ConfigError(
                ReasonCode.INVALID_DATA, f"{source.path.relative_to(root)}: {source.error.text}"
            )
        if source.error is None:  # else a second name of a file or folder seen before
            files.append(source.path)
    return files
