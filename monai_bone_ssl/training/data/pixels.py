"""Pixels of a labelled image, whichever format it comes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_bone_ssl.errors import CorruptImage, ReasonCode, UnsupportedImage

__all__ = ["is_dicom", "read_grey"]

_DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
# JPEG's conversion to YCbCr and back moves a grey pixel's channels apart by a level or two.
_GREY_TOLERANCE = 8


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
    try:
        if is_dicom(path):
            from monai_bone_ssl.dicom.radiograph import read_radiograph

            return read_radiograph(path).pixels
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            image.load()
            return _grey(image, path.name)
    except FileNotFoundError as error:
        raise CorruptImage(ReasonCode.UNREADABLE_FILE, f"{path.name}: no such file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow reports broken PNG chunks as SyntaxError or ValueError, everything else as OSError.
        raise CorruptImage(
            ReasonCode.DECODE_FAILED, f"{path.name}: expected a readable PNG, JPEG or DICOM image"
        ) from error


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its preamble or else by its suffix."""
    with path.open("rb") as file:
        preamble_and_prefix = file.read(132)
    return preamble_and_prefix[128:] == b"DICM" or path.suffix.lower() in _DICOM_SUFFIXES


def _grey(image: Image.Image, name: str) -> NDArray[np.float32]:
    if image.mode.startswith("I"):  # 16 bit grey
        return np.asarray(image, dtype=np.float32) / np.float32(65535)
    if image.mode != "L":
        image = image.convert("RGBA")  # palettes may carry transparency
        _refuse_colours(image, name)
        image = image.convert("L")
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _refuse_colours(image: Image.Image, name: str) -> None:
    channels = np.asarray(image, dtype=np.int16)[..., :3]  # [H, W, RGB]
    if np.ptp(channels, axis=2).max() > _GREY_TOLERANCE:
        raise UnsupportedImage(ReasonCode.COLOUR, f"{name}: image has colours, expected a grey radiograph")
