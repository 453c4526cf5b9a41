"""Parsing DICOM files and reading numbers from their headers, with every way to fail made a reason.

pydicom warns about a damaged file, on standard error, and goes on with what it has. Here a warning is an
error: the file is refused with a reason, and nothing is printed. Parsing runs under pydicom's strictest
reading mode, because only that reports a file that ends early; values are then converted under its most
lenient one, because text a little longer than its VR allows is no reason to refuse an image. Both settings
belong to the whole process, so they are held under a lock and put back.
"""

from __future__ import annotations

import math
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import DataElement, Dataset, FileDataset, config, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian
from pydicom.valuerep import VR

from monai_bone_ssl.errors import CorruptImage, ReasonCode, UnsupportedImage

__all__ = [
    "file_name",
    "first_item",
    "integer",
    "integers",
    "lenient_values",
    "number",
    "numbers",
    "open_dicom",
    "parse_header",
    "parse_pixel_data",
    "term",
    "text",
    "uid",
]

#: What pydicom raises on damaged input, at parsing or at conversion. UserWarning: its warnings, made errors.
_PYDICOM_ERRORS = (
    AssertionError,
    AttributeError,
    BytesLengthException,
    InvalidDicomError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    TypeError,
    UserWarning,
    ValueError,
    struct.error,
    zlib.error,
)

#: A deflated data set may not grow beyond the largest image that is read, with room for its header.
_MAX_INFLATED = 2 * 20_000 * 20_000 + (16 << 20)

_PIXEL_DATA = Tag(0x7FE0, 0x0010)
_IMAGE_GROUP = 0x0028
_LOCK = threading.Lock()


@contextmanager
def _strict_pydicom(mode: int) -> Iterator[None]:
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        previous = config.settings.reading_validation_mode
        config.settings.reading_validation_mode = mode
        try:
            yield
        finally:
            config.settings.reading_validation_mode = previous


@contextmanager
def lenient_values() -> Iterator[None]:
    """Let pydicom handle values that break their VR's rules, as this package reads them: without a warning
    that would show them.
    """
    with _strict_pydicom(config.IGNORE):
        yield


def file_name(path: Path) -> str:
    """Name of a file, on one line whatever it contains."""
    return path.name if path.name.isprintable() else ascii(path.name)


@contextmanager
def open_dicom(path: Path) -> Iterator[BinaryIO]:
    """Open a file that looks like DICOM.

    With a preamble, "DICM" says so. Without one, the first element has to be of group 0002 or 0008, as in
    every data set that follows the standard.

    Raises
    ------
    UnsupportedImage
        ``NOT_DICOM``.
    CorruptImage
        ``UNREADABLE_FILE`` where it cannot be opened or read.
    """
    try:
        with path.open("rb") as stream:
            if not _looks_like_dicom(stream.read(132)):
                raise UnsupportedImage(ReasonCode.NOT_DICOM, f"{file_name(path)} is not a DICOM file")
            stream.seek(0)
            yield stream
    except OSError as error:
        raise CorruptImage(ReasonCode.UNREADABLE_FILE, f"{file_name(path)} cannot be read") from error


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


def parse_header(stream: BinaryIO, path: Path) -> FileDataset:
    """Parse everything before the pixel data and convert every value.

    An element that cannot be converted is left out; in the image group 0028 it stays, as unknown bytes, so
    that whoever needs it finds it unreadable instead of absent.

    Raises
    ------
    UnsupportedImage
        ``NOT_DICOM`` where a file without preamble turns out to hold no DICOM object.
    CorruptImage
        ``TRUNCATED_FILE`` or ``INVALID_HEADER``.
    """
    has_preamble = stream.read(132)[128:] == b"DICM"
    if has_preamble:
        _check_inflated_size(stream, path)
    header = _parse(stream, path, stop_before_pixels=True)
    with _strict_pydicom(config.IGNORE):
        _convert(header.file_meta)
        _convert(header)
    if not has_preamble and uid(header, "SOPClassUID") is None:
        raise UnsupportedImage(ReasonCode.NOT_DICOM, f"{file_name(path)} is not a DICOM file")
    if not len(header):
        raise CorruptImage(ReasonCode.TRUNCATED_FILE, f"{file_name(path)} ends before its header")
    return header


def parse_pixel_data(stream: BinaryIO, path: Path) -> DataElement | None:
    """Read the Pixel Data element; None where there is none, or an empty one.

    Raises
    ------
    CorruptImage
        ``TRUNCATED_FILE`` or ``INVALID_HEADER``.
    """
    dataset = _parse(stream, path, specific_tags=[_PIXEL_DATA])
    element = dataset.get_item(_PIXEL_DATA)
    if element is None or not isinstance(element.value, bytes) or not element.value:
        return None
    # Its VR is ambiguous in implicit VR; the value is bytes whichever it is.
    return DataElement(_PIXEL_DATA, element.VR or "OW", element.value)


def _parse(
    stream: BinaryIO, path: Path, stop_before_pixels: bool = False, specific_tags: list[Any] | None = None
) -> FileDataset:
    stream.seek(0)
    with _parse_errors_as_reasons(path), _strict_pydicom(config.RAISE):
        return dcmread(stream, stop_before_pixels=stop_before_pixels, specific_tags=specific_tags, force=True)


@contextmanager
def _parse_errors_as_reasons(path: Path) -> Iterator[None]:
    try:
        yield
    except EOFError as error:
        raise CorruptImage(
            ReasonCode.TRUNCATED_FILE, f"{file_name(path)} ends in the middle of an element"
        ) from error
    except _PYDICOM_ERRORS as error:
        raise CorruptImage(
            ReasonCode.INVALID_HEADER, f"{file_name(path)} has a header that cannot be parsed"
        ) from error


def _check_inflated_size(stream: BinaryIO, path: Path) -> None:
    """Refuse a deflated data set that would fill the memory; pydicom inflates it in one go."""
    with _parse_errors_as_reasons(path):
        with _strict_pydicom(config.RAISE):
            meta = read_file_meta_info(path)
            if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
                return
            start = 144 + int(meta.FileMetaInformationGroupLength)
        stream.seek(start)
        inflater, inflated, waiting = zlib.decompressobj(-zlib.MAX_WBITS), 0, stream.read()
        while waiting and inflated <= _MAX_INFLATED:
            inflated += len(inflater.decompress(waiting, 16 << 20))
            waiting = inflater.unconsumed_tail
    if inflated > _MAX_INFLATED:
        raise CorruptImage(
            ReasonCode.INVALID_HEADER, f"{file_name(path)} inflates to more than {_MAX_INFLATED} bytes"
        )


def _convert(dataset: Dataset) -> None:
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            for item in element.value if element.VR == VR.SQ else ():
                _convert(item)
        except _PYDICOM_ERRORS:
            del dataset[tag]
            if tag.group == _IMAGE_GROUP:
                dataset[tag] = DataElement(tag, VR.OB, b"?")


def _invalid(keyword: str, expected: str) -> CorruptImage:
    return CorruptImage(ReasonCode.INVALID_HEADER, f"{keyword} in the DICOM header is not {expected}")


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    """All values of an element; none where it is absent or empty."""
    value = dataset.get(keyword)
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _to_number(value: Any, keyword: str) -> float:
    try:
        converted = math.nan if isinstance(value, bytes) else float(value)
    except (TypeError, ValueError) as error:
        raise _invalid(keyword, "a number") from error
    if not math.isfinite(converted):
        raise _invalid(keyword, "a finite number")
    return converted


def numbers(dataset: Dataset, keyword: str) -> list[float] | None:
    """All values of an element as finite numbers; None where it is absent or empty.

    Raises
    ------
    CorruptImage
        ``INVALID_HEADER``; so do the functions below.
    """
    return [_to_number(value, keyword) for value in _values(dataset, keyword)] or None


def number(dataset: Dataset, keyword: str) -> float | None:
    """First value of an element as a finite number; None where it is absent or empty."""
    values = _values(dataset, keyword)
    return _to_number(values[0], keyword) if values else None


def integers(dataset: Dataset, keyword: str) -> list[int] | None:
    """All values of an element as integers; None where it is absent or empty."""
    values = numbers(dataset, keyword)
    if values is None:
        return None
    if any(value != int(value) for value in values):
        raise _invalid(keyword, "a whole number")
    return [int(value) for value in values]


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Only value of an element as an integer; None where it is absent or empty."""
    values = integers(dataset, keyword)
    if values is None:
        return None
    if len(values) > 1:
        raise _invalid(keyword, "a single number")
    return values[0]


def first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """First item of a sequence; None where it is absent or empty."""
    value = dataset.get(keyword)
    if value is None:
        return None
    if not isinstance(value, Sequence):
        raise _invalid(keyword, "a sequence")
    return value[0] if len(value) else None


def text(dataset: Dataset, keyword: str) -> str:
    """First value of a text element, stripped; empty where it is absent or no text."""
    values = _values(dataset, keyword)
    return values[0].strip(" \0") if values and isinstance(values[0], str) else ""


def term(dataset: Dataset, keyword: str) -> str:
    """First value of an element that decides something; empty where it is absent.

    Raises
    ------
    CorruptImage
        ``INVALID_HEADER`` where it is no text.
    """
    values = _values(dataset, keyword)
    if values and not isinstance(values[0], str):
        raise _invalid(keyword, "text")
    return text(dataset, keyword)


def uid(dataset: Dataset, keyword: str) -> UID | None:
    """A valid UID; None where it is absent, empty or not one."""
    value = UID(text(dataset, keyword), config.IGNORE)
    return value if value.is_valid else None
