"""Image files of any format: those under a folder, and the grey values of one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_bone_ssl.dicom.collect import find_files
from monai_bone_ssl.dicom.collimation import ExposedField
from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import ConfigError, CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.model.exposed_field import exposed_field
from monai_bone_ssl.model.preprocessing import PreprocessSpec, preprocess

__all__ = ["image_files", "is_dicom", "read_exposed", "read_grey", "read_input"]

_DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
# JPEG's conversion to YCbCr and back moves a grey pixel's channels apart by a level or two.
_GREY_TOLERANCE = 8


def image_files(root: Path) -> list[Path]:
    """Every file under a folder, each once, sorted; hidden ones (``._image1.png``, ``.cache/``) are left out.

    Raises
    ------
    ConfigError
        Where a folder or file cannot be read.
    """
    files = []
    for source in find_files([root], skip=Path(os.devnull)):  # there is no folder of results to skip
        name = source.path.relative_to(root)
        if any(part.startswith(".") for part in name.parts):
            continue
        if isinstance(source.error, CorruptImage):
            raise ConfigError(ReasonCode.INVALID_DATA, f"{name}: {source.error.text}")
        if source.error is None:  # other errors mark a second name of a file or folder seen before
            files.append(source.path)
    return files


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its preamble or else by its suffix."""
    with path.open("rb") as file:
        preamble_and_prefix = file.read(132)
    return preamble_and_prefix[128:] == b"DICM" or path.suffix.lower() in _DICOM_SUFFIXES


def read_grey(path: Path) -> NDArray[np.float32]:
    """Grey values of a PNG, JPEG or DICOM file.

    Parameters
    ----------
    path
        8 or 16 bit PNG, JPEG, or a DICOM radiograph (by its preamble or suffix).

    Returns
    -------
    numpy.ndarray
        float32 [H, W] in [0, 1]: for PNG and JPEG the full scale of the file's bit depth is 1, for DICOM see
        :func:`monai_bone_ssl.dicom.radiograph.read_radiograph`.

    Raises
    ------
    CorruptImage
        Where the file cannot be decoded.
    UnsupportedImage
        Where the image has colours, or the DICOM file holds no radiograph.
    """
    return _read(path)[0]


def read_input(path: Path, spec: PreprocessSpec) -> NDArray[np.float32]:
    """Network input [H', W'] in [0, 1] of a PNG, JPEG or DICOM file: read, and preprocessed.

    Raises
    ------
    CorruptImage
        Where the file cannot be decoded.
    UnsupportedImage
        Where the image has colours or is blank, or the DICOM file holds no radiograph.
    """
    pixels, field = read_exposed(path)
    try:
        return preprocess(pixels, spec, field)
    except UnsupportedImage as error:
        raise UnsupportedImage(error.code, f"{path.name}: {error.text}") from error


def read_exposed(path: Path) -> tuple[NDArray[np.float32], ExposedField]:
    """Grey values [H, W] in [0, 1] of a PNG, JPEG or DICOM file, and its exposed field.

    Raises
    ------
    CorruptImage, UnsupportedImage
        See :func:`read_grey`.
    """
    pixels, declared = _read(path)
    return pixels, exposed_field(pixels, declared, notes=[])


def _read(path: Path) -> tuple[NDArray[np.float32], ExposedField | None]:
    """Grey values of a file, and the exposed field that its header declares."""
    try:
        if is_dicom(path):
            radiograph = read_radiograph(path)
            return radiograph.pixels, radiograph.declared_field
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            image.load()
            return _grey(image, path.name), None
    except FileNotFoundError as error:
        raise CorruptImage(ReasonCode.UNREADABLE_FILE, f"{path.name}: no such file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow reports broken PNG chunks as SyntaxError or ValueError, everything else as OSError.
        text = f"{path.name}: expected a readable PNG, JPEG or DICOM image"
        raise CorruptImage(ReasonCode.DECODE_FAILED, text) from error


def _grey(image: Image.Image, name: str) -> NDArray[np.float32]:
    if image.mode.startswith("I"):  # 16 bit grey
        return np.asarray(image, dtype=np.float32) / np.float32(65535)
    if image.mode != "L":
        image = image.convert("RGBA")  # palettes may carry transparency
        channels = np.asarray(image, dtype=np.int16)[..., :3]  # [H, W, RGB]
        if np.ptp(channels, axis=2).max() > _GREY_TOLERANCE:
            text = f"{name}: image has colours, expected a grey radiograph"
            raise UnsupportedImage(ReasonCode.COLOUR, text)
        image = image.convert("L")
    return np.asarray(image, dtype=np.float32) / np.float32(255)
