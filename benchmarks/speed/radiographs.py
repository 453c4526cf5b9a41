"""Radiographs to measure with: the demo's tibia, and copies in other transfer syntaxes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

__all__ = ["SYNTAXES", "copies", "tibia"]

Pixels = npt.NDArray[np.uint16]

_ENCODERS: dict[UID, Callable[[Pixels], bytes]] = {
    JPEGLosslessSV1: lambda pixels: bytes(imagecodecs.ljpeg_encode(pixels, bitspersample=16)),
    JPEGLSLossless: lambda pixels: bytes(imagecodecs.jpegls_encode(pixels)),
    JPEG2000Lossless: lambda pixels: bytes(
        imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, level=0)
    ),
}

#: What a site's archive holds.
SYNTAXES: tuple[UID, ...] = (
    ExplicitVRLittleEndian,
    RLELossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
)


def tibia(transfer_syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    """The demo's tibia (pydicom-data's RG3, 1,760 x 1,760, 10 bits), in a transfer syntax.

    Raises
    ------
    FileNotFoundError
        If pydicom-data is not installed.
    """
    path = get_testdata_file("RG3_UNCR.dcm")
    if path is None:
        raise FileNotFoundError("RG3_UNCR.dcm: pip install pydicom-data")
    dataset = pydicom.dcmread(str(path))
    if transfer_syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless, generate_instance_uid=False)
    elif transfer_syntax in _ENCODERS:
        encoded = _ENCODERS[transfer_syntax](dataset.pixel_array)
        dataset.PixelData = encapsulate([encoded])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = transfer_syntax
    return dataset


def copies(folder: Path, images: int, per_study: int) -> list[Path]:
    """Write copies with UIDs of their own, syntaxes in turn, as studies of ``per_study`` images.

    Returns
    -------
    One folder a study.
    """
    originals = [tibia(syntax) for syntax in SYNTAXES]
    studies: list[Path] = []
    for index in range(images):
        if index % per_study == 0:
            studies.append(folder / f"study_{index // per_study:04d}")
            studies[-1].mkdir(parents=True)
            study_uid = generate_uid()
        dataset = copy.copy(originals[index % len(originals)])
        dataset.file_meta = copy.copy(dataset.file_meta)
        dataset.StudyInstanceUID = study_uid
        dataset.SOPInstanceUID = generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(studies[-1] / f"{index:04d}.dcm", enforce_file_format=True)
    return studies
