"""Whether two files hold one instance, whatever transfer syntax each of them is written in."""

from __future__ import annotations

import filecmp
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmwrite

from monai_bone_ssl.dicom.conversion import PYDICOM_ERRORS
from monai_bone_ssl.dicom.parsing import lenient_values
from monai_bone_ssl.dicom.radiograph import read_stored_pixels
from monai_bone_ssl.errors import BoneSSLError

__all__ = ["have_same_content"]


def have_same_content(first: Path, second: Path) -> bool:
    """Compare two files byte for byte and, where they differ, their elements and their decoded pixels.

    The file meta information, which says who wrote a file and how, is left out. Files that cannot be read,
    and other objects than monochrome images of one frame, are the same only byte for byte.
    """
    try:
        if filecmp.cmp(first, second, shallow=False):
            return True
        (header, pixels), (other_header, other_pixels) = (read_stored_pixels(p) for p in (first, second))
        same_elements = _elements(header) == _elements(other_header)
    except (OSError, BoneSSLError, *PYDICOM_ERRORS):
        return False
    return same_elements and np.array_equal(pixels, other_pixels)


def _elements(header: Dataset) -> bytes:
    """Elements of a header in the one transfer syntax that needs no types: Implicit VR Little Endian."""
    elements = Dataset(header)
    for element in elements.iterall():
        if element.VR == "SQ":  # its length may be stated or not: written alike here
            element.is_undefined_length = False
            for item in element.value:
                item.is_undefined_length_sequence_item = False
    buffer = BytesIO()
    with lenient_values():
        dcmwrite(buffer, elements, implicit_vr=True, little_endian=True)
    return buffer.getvalue()
