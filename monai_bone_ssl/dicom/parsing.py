"""Parsing DICOM files, with every way to fail made a reason.

pydicom warns about a damaged file, on standard error, and goes on with what it has. Here a warning is an
error: the file is refused with a reason, and nothing is printed. Only its opinion of character sets is not
asked for: text is decoded here. Values are converted under its most lenient mode, because text a little
longer than its VR allows is no reason to refuse an image. Warnings and mode belong to the whole process, so
they are held under a lock and put back.
"""

from __future__ import annotations

import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom import DataElement, FileDataset, config, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import data_element_generator, read_dataset, read_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pydicom.valuerep import VR

from monai_bone_ssl.dicom.conversion import MAX_VALUES, PYDICOM_ERRORS, Conversion
from monai_bone_ssl.dicom.header import uid
from monai_bone_ssl.dicom.stream import MAX_DATA_SET, MAX_HEADER, file_name, inflate, metered
from monai_bone_ssl.dicom.text import Repertoire
from monai_bone_ssl.errors import CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.notes import Note

__all__ = ["DicomFile", "lenient_values", "open_dicom"]

# Larger elements of a header are left out unread: none that matters has more than a LUT's 128 KiB.
_MAX_ELEMENT = 1 << 20

_PIXEL_DATA = Tag(0x7FE0, 0x0010)
_PIXELS = (_PIXEL_DATA, Tag(0x7FE0, 0x0008), Tag(0x7FE0, 0x0009))
_LOCK = threading.Lock()
_ABOUT_CHARACTER_SETS = "Unknown encoding|Incorrect value for Specific Character Set|Value '.*' (for|cannot)"


@contextmanager
def lenient_values() -> Iterator[None]:
    """Let pydicom handle values that break their VR's rules, as this package reads them: without a warning
    that would show them.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", _ABOUT_CHARACTER_SETS, UserWarning)
        previous = config.settings.reading_validation_mode
        config.settings.reading_validation_mode = config.IGNORE
        try:
            yield
        finally:
            config.settings.reading_validation_mode = previous


class DicomFile:
    """A DICOM file, parsed up to its pixel data; from :func:`open_dicom`."""

    def __init__(self, path: Path, header: FileDataset, notes: Sequence[Note], rest: BinaryIO) -> None:
        self.path = path
        self.header = header
        """Everything before the pixel data, as Conversion leaves it."""
        self.notes = notes
        """What was put right in the header's text."""
        self._rest = rest

    def read_pixel_data(self) -> DataElement | None:
        """Read the Pixel Data element; None where there is none, or an empty one.

        Raises
        ------
        UnsupportedImage
            ``TOO_LARGE``.
        CorruptImage
            ``TRUNCATED_FILE`` or ``INVALID_HEADER``.
        """
        implicit, little_endian = self.header.original_encoding
        stream = metered(self._rest, self.path, MAX_DATA_SET)
        with _parse_errors_as_reasons(self.path), lenient_values():
            element = next(data_element_generator(stream, bool(implicit), little_endian is not False), None)
        if element is None or element.tag != _PIXEL_DATA:
            return None
        if not isinstance(element.value, bytes) or not element.value:
            return None
        # Its VR is ambiguous in implicit VR; the value is bytes whichever it is.
        return DataElement(_PIXEL_DATA, element.VR or "OW", element.value)


@contextmanager
def open_dicom(path: Path) -> Iterator[DicomFile]:
    """Open a file that looks like DICOM and parse everything before its pixel data.

    With a preamble, "DICM" says so. Without one, the first element has to be of group 0002 or 0008, as in
    every data set that follows the standard.

    Raises
    ------
    UnsupportedImage
        ``NOT_DICOM``, also where a file without preamble turns out to hold no DICOM object; ``TOO_LARGE``.
    CorruptImage
        ``UNREADABLE_FILE`` where it cannot be opened or read, ``TRUNCATED_FILE`` or ``INVALID_HEADER``.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
            if not _looks_like_dicom(start):
                raise _not_dicom(path)
            stream.seek(0)
            yield _parse(stream, path, has_preamble=start[128:] == b"DICM")
    except OSError as error:
        raise CorruptImage(ReasonCode.UNREADABLE_FILE, f"{file_name(path)} cannot be read") from error


def _not_dicom(path: Path) -> UnsupportedImage:
    return UnsupportedImage(ReasonCode.NOT_DICOM, f"{file_name(path)} is not a DICOM file")


def _looks_like_dicom(start: bytes) -> bool:
    if start[128:] == b"DICM":
        return True
    if len(start) < 16:
        return False
    for order in "<>":
        group, element = struct.unpack_from(f"{order}HH", start)
        if (group == 0x0008 and element <= 0x0070) or (group == 0x0002 and element <= 0x0016):
            explicit = start[4:6].decode("latin-1") in VR.__members__
            (length,) = struct.unpack_from("<I", start, 4)
            return explicit or (order == "<" and length <= 64)
    return False


def _parse(stream: BinaryIO, path: Path, has_preamble: bool) -> DicomFile:
    conversion = Conversion()
    with _parse_errors_as_reasons(path), lenient_values():
        header, rest = _parse_header(stream, path, has_preamble)
        conversion.convert(header.file_meta)
        conversion.convert(header, Repertoire())
    if conversion.is_too_large:
        text = f"{file_name(path)} has a header of more than {MAX_VALUES} values"
        raise UnsupportedImage(ReasonCode.TOO_LARGE, text)
    if not has_preamble and uid(header, "SOPClassUID") is None:
        raise _not_dicom(path)
    if not len(header):
        raise CorruptImage(ReasonCode.TRUNCATED_FILE, f"{file_name(path)} ends before its header")
    header.SpecificCharacterSet = "ISO_IR 192"
    header.buffer = None  # what was read would be kept in memory with it
    return DicomFile(path, header, conversion.notes, rest)


def _parse_header(stream: BinaryIO, path: Path, has_preamble: bool) -> tuple[FileDataset, BinaryIO]:
    """The header, not converted, and the data set's bytes from Pixel Data on."""
    meta = read_file_meta_info(path) if has_preamble else FileMetaDataset()
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        limited = metered(stream, path, MAX_HEADER)
        return dcmread(limited, _MAX_ELEMENT, stop_before_pixels=True, force=True), stream
    stream.seek(144 + int(meta.FileMetaInformationGroupLength))
    inflated = inflate(stream, path)
    limited = metered(inflated, path, MAX_HEADER)
    data_set = read_dataset(limited, False, True, stop_when=_is_pixels, defer_size=_MAX_ELEMENT)
    return FileDataset(limited, data_set, None, meta, False, True), inflated


def _is_pixels(tag: BaseTag, *_: object) -> bool:
    return tag in _PIXELS


@contextmanager
def _parse_errors_as_reasons(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, *PYDICOM_ERRORS) as error:
        if isinstance(error, EOFError) or isinstance(error.__context__, EOFError):  # which pydicom warns of
            code, text = ReasonCode.TRUNCATED_FILE, "ends in the middle of an element"
        else:
            code, text = ReasonCode.INVALID_HEADER, "has a header that cannot be parsed"
        raise CorruptImage(code, f"{file_name(path)} {text}") from error
