"""A DICOM file as the radiograph a PACS shows.

:func:`read_radiograph` decides whether a file is a projection radiograph of one frame, decodes it once, runs
the DICOM grayscale pipeline (:mod:`monai_bone_ssl.dicom.grayscale`) and keeps what the header says about
size, side and body part. Whatever is wrong with a file ends in an UnsupportedImage or a CorruptImage with a
reason code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset, config
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    XRayRadiofluoroscopicImageStorage,
)

from monai_bone_ssl.body_parts import term_of_concept
from monai_bone_ssl.dicom.body_part_words import term_of_body_part
from monai_bone_ssl.dicom.collimation import ExposedField, declared_field
from monai_bone_ssl.dicom.decoding import PixelFormat, decode_frame
from monai_bone_ssl.dicom.grayscale import grayscale_table
from monai_bone_ssl.dicom.header import first_item, integer, numbers, text, uid
from monai_bone_ssl.dicom.parsing import DicomFile, open_dicom
from monai_bone_ssl.dicom.patient import check_decodable
from monai_bone_ssl.dicom.source_values import source_values
from monai_bone_ssl.dicom.stream import MAX_PIXELS
from monai_bone_ssl.errors import CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.notes import Note, NoteCode
from monai_bone_ssl.wording import counted

__all__ = [
    "MODALITIES",
    "Radiograph",
    "SpacingSource",
    "anatomy",
    "check_eligible",
    "laterality",
    "read_header",
    "read_radiograph",
    "read_stored_pixels",
]

_ELIGIBLE = frozenset(
    {
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        XRayRadiofluoroscopicImageStorage,
    }
)
#: Modalities of projection radiographs of the skeleton. CR Image Storage is also used for mammograms (MG),
#: teeth (IO, PX) and, wrongly, for secondary captures.
MODALITIES = frozenset({"CR", "DX", "RF", "RG"})

_MIN_SIDE, _MAX_SIDE = 64, 20_000
_MIN_LEVELS = 4
"""Fewer of the 256 grey levels of a display than this is no picture."""


class SpacingSource(StrEnum):
    """Where a pixel spacing comes from: the attribute, as DICOM names it."""

    PIXEL_SPACING = "PixelSpacing"
    """Calibrated, or corrected for geometric magnification."""
    IMAGER_PIXEL_SPACING = "ImagerPixelSpacing"
    """At the detector: bone appears magnified."""
    IMAGER_PIXEL_SPACING_DEMAGNIFIED = "ImagerPixelSpacing/EstimatedRadiographicMagnificationFactor"
    """At the detector, divided by the magnification that the header states."""


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One projection radiograph."""

    pixels: NDArray[np.float32]
    """[H, W] in [0, 1], bright = dense, as displayed; padding is 0."""
    spacing: tuple[float, float] | None
    """Millimetres between rows, between columns; None where the header gives none that makes sense."""
    spacing_source: SpacingSource | None
    laterality: str | None
    """``R``, ``L`` or ``B``; None where the header does not say."""
    anatomy: str | None
    """Body Part Examined term, of this package's table or as the header has it; None where it is silent."""
    declared_field: ExposedField | None
    """Exposed field by collimator and shutter of the header; None where the header declares none."""
    header: Dataset
    """Everything before the pixel data."""
    notes: tuple[Note, ...]
    """What was put right while reading."""

    @property
    def sop_instance_uid(self) -> str:
        """Identity of the image."""
        return str(self.header.SOPInstanceUID)

    @property
    def study_instance_uid(self) -> str:
        """Identity of its study."""
        return str(self.header.StudyInstanceUID)


def read_header(path: Path) -> FileDataset:
    """Read everything before the pixel data, of any DICOM object.

    Raises
    ------
    UnsupportedImage
        ``NOT_DICOM`` or ``TOO_LARGE``.
    CorruptImage
        ``UNREADABLE_FILE``, ``TRUNCATED_FILE`` or ``INVALID_HEADER``.
    """
    with open_dicom(path) as file:
        return file.header


def read_radiograph(path: Path) -> Radiograph:
    """Read a radiograph as a PACS would show it.

    Parameters
    ----------
    path
        A DICOM file: Computed Radiography, Digital X-Ray for presentation or single-frame Radiofluoroscopy,
        monochrome, 6 to 16 bits, in any transfer syntax for still images.

    Raises
    ------
    UnsupportedImage
        ``NOT_DICOM``, ``UNSUPPORTED_SOP_CLASS``, ``NOT_FOR_PRESENTATION``, ``MULTI_FRAME``, ``COLOUR``,
        ``MISSING_PIXEL_DATA``, ``IMAGE_TOO_SMALL``, ``TOO_LARGE`` or ``BLANK_IMAGE``.
    CorruptImage
        ``UNREADABLE_FILE``, ``TRUNCATED_FILE``, ``INVALID_HEADER``, ``MISSING_IDENTIFIER``,
        ``UNDECODABLE_IDENTITY``, ``UNSUPPORTED_TRANSFER_SYNTAX`` or ``DECODE_FAILED``.
    """
    with open_dicom(path) as file:
        header = file.header
        check_eligible(header)
        _check_identified(header)
        pixel_format = _pixel_format(header)
        notes = [*file.notes, *_body_part_notes(header), *_photometric_notes(header)]
        notes += source_values(header).notes
        codes = _decode(file, pixel_format, notes)
    pixels = _render(header, codes, pixel_format, notes)
    spacing, spacing_source = _spacing(header)
    return Radiograph(
        pixels,
        spacing,
        spacing_source,
        laterality(header),
        anatomy(header),
        declared_field(header, notes),
        header,
        tuple(notes),
    )


def read_stored_pixels(path: Path) -> tuple[FileDataset, NDArray[np.uint16]]:
    """Read the header of a monochrome image of one frame, and its pixels [H, W] as they are stored.

    Raises
    ------
    UnsupportedImage, CorruptImage
        As for :func:`read_radiograph`.
    """
    with open_dicom(path) as file:
        _check_single_grey_frame(file.header)
        return file.header, _decode(file, _pixel_format(file.header), [])


def _decode(file: DicomFile, pixel_format: PixelFormat, notes: list[Note]) -> NDArray[np.uint16]:
    pixel_data = file.read_pixel_data()
    if pixel_data is None:
        raise UnsupportedImage(ReasonCode.MISSING_PIXEL_DATA, "The DICOM file has no pixel data")
    return decode_frame(pixel_data, pixel_format, notes)


def check_eligible(header: FileDataset) -> None:
    """Refuse what is not a projection radiograph of one grey frame, by its header alone.

    Raises
    ------
    UnsupportedImage, CorruptImage
        With the code that says why.
    """
    sop_class = uid(header, "SOPClassUID") or uid(header.file_meta, "MediaStorageSOPClassUID")
    if sop_class is None:
        raise CorruptImage(ReasonCode.INVALID_HEADER, "SOP Class UID in the DICOM header is missing")
    if sop_class == DigitalXRayImageStorageForProcessing or (
        sop_class in _ELIGIBLE and text(header, "PresentationIntentType") == "FOR PROCESSING"
    ):
        raise UnsupportedImage(
            ReasonCode.NOT_FOR_PRESENTATION, "The image is raw data for processing, not for presentation"
        )
    if sop_class not in _ELIGIBLE:
        raise UnsupportedImage(
            ReasonCode.UNSUPPORTED_SOP_CLASS, f"{_class_name(sop_class)} is not a projection radiograph"
        )
    modality = text(header, "Modality")
    if modality and modality not in MODALITIES:
        shown = modality if re.fullmatch("[A-Z]{2,16}", modality) else "of another kind"
        raise UnsupportedImage(
            ReasonCode.UNSUPPORTED_SOP_CLASS,
            f"{_class_name(sop_class)} with modality {shown}: expected {', '.join(sorted(MODALITIES))}",
        )
    _check_single_grey_frame(header)


def _class_name(sop_class: UID) -> str:
    return sop_class.name if sop_class.name != sop_class else f"SOP class {sop_class}"


def _check_single_grey_frame(header: Dataset) -> None:
    frames = integer(header, "NumberOfFrames")
    if frames is not None and frames > 1:
        raise UnsupportedImage(ReasonCode.MULTI_FRAME, f"The image has {frames} frames: expected one")
    if frames is not None and frames < 1:
        raise CorruptImage(ReasonCode.INVALID_HEADER, f"Number of Frames is {frames}: expected 1")
    samples = integer(header, "SamplesPerPixel")
    photometric = text(header, "PhotometricInterpretation")
    colours = ("RGB", "PALETTE") if samples == 1 else ("RGB", "YBR", "PALETTE")
    if (samples is not None and samples > 1) or photometric.startswith(colours):
        raise UnsupportedImage(ReasonCode.COLOUR, "The image is in colour: expected a grey radiograph")


def _body_part_notes(header: Dataset) -> list[Note]:
    """How a Body Part Examined that is no defined term was understood."""
    value = text(header, "BodyPartExamined")
    term = term_of_body_part(value)
    if not value or term == " ".join(value.upper().split()):
        return []
    words = f"Body Part Examined {value[:40]!a} read as {term or 'saying nothing'}"
    return [Note(NoteCode.BODY_PART, words)]


def _photometric_notes(header: Dataset) -> list[Note]:
    """What compressors stamp on grey images of one sample too: luminance, and so MONOCHROME2."""
    if not text(header, "PhotometricInterpretation").startswith("YBR"):
        return []
    words = "Photometric Interpretation is one of colours over one sample a pixel: read as MONOCHROME2"
    return [Note(NoteCode.PHOTOMETRIC_INTERPRETATION, words)]


def _check_identified(header: Dataset) -> None:
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if uid(header, keyword) is None:
            raise CorruptImage(ReasonCode.MISSING_IDENTIFIER, f"{keyword} is missing or not a valid UID")
    check_decodable(header)


def _pixel_format(header: FileDataset) -> PixelFormat:
    """Image Pixel module, checked before anything is allocated."""
    rows, columns = _required(header, "Rows"), _required(header, "Columns")
    if rows < 1 or columns < 1:
        raise CorruptImage(ReasonCode.INVALID_HEADER, f"Image size is {rows} x {columns}: expected pixels")
    if max(rows, columns) > _MAX_SIDE or rows * columns > MAX_PIXELS:
        raise UnsupportedImage(
            ReasonCode.TOO_LARGE,
            f"Image size is {rows} x {columns}: expected at most {_MAX_SIDE} a side and {MAX_PIXELS} pixels",
        )
    if min(rows, columns) < _MIN_SIDE:
        raise UnsupportedImage(
            ReasonCode.IMAGE_TOO_SMALL, f"Image size is {rows} x {columns}: expected {_MIN_SIDE} or more"
        )
    photometric = text(header, "PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2") and not photometric.startswith("YBR"):
        raise CorruptImage(
            ReasonCode.INVALID_HEADER, "Photometric Interpretation is neither MONOCHROME1 nor MONOCHROME2"
        )
    allocated, stored = _required(header, "BitsAllocated"), _required(header, "BitsStored")
    high_bit = integer(header, "HighBit")
    high_bit = stored - 1 if high_bit is None else high_bit
    if allocated not in (8, 16) or not 6 <= stored <= high_bit + 1 <= allocated:
        raise CorruptImage(
            ReasonCode.INVALID_HEADER,
            f"Bits Allocated {allocated}, Bits Stored {stored}, High Bit {high_bit}: expected 6 to 16 bits",
        )
    representation = _required(header, "PixelRepresentation")
    if representation not in (0, 1):
        raise CorruptImage(ReasonCode.INVALID_HEADER, f"Pixel Representation is {representation}, not 0 or 1")
    return PixelFormat(
        _transfer_syntax(header), rows, columns, allocated, stored, high_bit, representation == 1
    )


def _required(header: Dataset, keyword: str) -> int:
    value = integer(header, keyword)
    if value is None:
        raise CorruptImage(ReasonCode.INVALID_HEADER, f"{keyword} in the DICOM header is missing")
    return value


def _transfer_syntax(header: FileDataset) -> UID:
    """Transfer syntax of the file meta information, else as the header itself was found to be written."""
    if "TransferSyntaxUID" in header.file_meta:
        return UID(text(header.file_meta, "TransferSyntaxUID"), config.IGNORE)
    implicit, little_endian = header.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def _render(
    header: Dataset, codes: NDArray[np.uint16], pixel_format: PixelFormat, notes: list[Note]
) -> NDArray[np.float32]:
    """Stored codes [H, W] to displayed pixels [H, W] in [0, 1]."""
    occurs = np.zeros(1 << pixel_format.bits_stored, np.bool_)
    for row in codes:  # a row at a time: numpy turns what it counts or looks up into 64-bit integers
        occurs[row] = True
    display, padding = grayscale_table(header, occurs, pixel_format.signed, notes)
    levels = np.unique(np.rint(display[occurs & ~padding] * 255)).size
    if levels < _MIN_LEVELS:
        raise UnsupportedImage(
            ReasonCode.BLANK_IMAGE,
            f"The image shows {counted(levels, 'grey level')}: expected {_MIN_LEVELS} or more",
        )
    pixels = np.empty(codes.shape, np.float32)
    for row, row_codes in zip(pixels, codes, strict=True):
        row[:] = display[row_codes]
    return pixels


def _spacing(header: Dataset) -> tuple[tuple[float, float] | None, SpacingSource | None]:
    """Millimetres between rows and columns (PS3.3 10.7.1.3), and where they come from."""
    calibrated = _spacing_pair(header, "PixelSpacing")
    if calibrated is not None:
        return calibrated, SpacingSource.PIXEL_SPACING
    at_detector = _spacing_pair(header, "ImagerPixelSpacing")
    if at_detector is None:
        return None, None
    factor = _sensible(header, "EstimatedRadiographicMagnificationFactor", 1.0, 5.0)
    if factor is None or len(factor) != 1:
        return at_detector, SpacingSource.IMAGER_PIXEL_SPACING
    row, column = at_detector
    return (row / factor[0], column / factor[0]), SpacingSource.IMAGER_PIXEL_SPACING_DEMAGNIFIED


def _spacing_pair(header: Dataset, keyword: str) -> tuple[float, float] | None:
    values = _sensible(header, keyword, 1e-3, 10.0)
    return (values[0], values[1]) if values is not None and len(values) == 2 else None


def _sensible(header: Dataset, keyword: str, low: float, high: float) -> list[float] | None:
    """Numbers within limits, else None: the picture does not depend on them."""
    try:
        values = numbers(header, keyword)
    except CorruptImage:
        return None
    return values if values is not None and all(low <= value <= high for value in values) else None


def laterality(header: Dataset) -> str | None:
    """``R``, ``L`` or ``B`` (DICOM Image Laterality); None where the header does not say."""
    for keyword in ("ImageLaterality", "Laterality", "FrameLaterality"):
        if (side := text(header, keyword)) in ("R", "L", "B"):
            return side
    return None


def anatomy(header: Dataset) -> str | None:
    """Body part by its code, else by Body Part Examined, else by the meaning of a code not in the table.

    Returns
    -------
    A term of :data:`~monai_bone_ssl.body_parts.ANATOMY` where it is known there; None where nothing is said.
    """
    try:
        region = first_item(header, "AnatomicRegionSequence")
    except CorruptImage:
        region = None
    coded = None if region is None else term_of_concept(_code(region))
    meaning = "" if region is None else text(region, "CodeMeaning")
    return coded or term_of_body_part(text(header, "BodyPartExamined")) or term_of_body_part(meaning)


def _code(item: Dataset) -> Code:
    return Code(text(item, "CodeValue"), text(item, "CodingSchemeDesignator"), text(item, "CodeMeaning"))
