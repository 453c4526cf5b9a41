"""Reading numbers and words from DICOM headers, with every value that is not one made a reason."""

from __future__ import annotations

import math
from typing import Any

from pydicom import Dataset, config
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import UID

from monai_bone_ssl.errors import CorruptImage, ReasonCode

__all__ = [
    "first_item",
    "integer",
    "integers",
    "items",
    "number",
    "numbers",
    "readable_numbers",
    "term",
    "text",
    "texts",
    "uid",
]


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


def readable_numbers(dataset: Dataset, keyword: str) -> list[float | None]:
    """All values of an element, None for each that is no finite number; empty where it is absent or empty."""
    values = _values(dataset, keyword)
    if values and isinstance(values[0], bytes):  # one that is no number made all of them unreadable
        values = values[0].decode("latin-1").strip(" \0").split("\\")
    return [_readable(value, keyword) for value in values]


def _readable(value: Any, keyword: str) -> float | None:
    try:
        return _to_number(value, keyword)
    except CorruptImage:
        return None


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


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence; none where it is absent or empty."""
    value = dataset.get(keyword)
    if value is None:
        return []
    if not isinstance(value, Sequence):
        raise _invalid(keyword, "a sequence")
    return list(value)


def first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """First item of a sequence; None where it is absent or empty."""
    return next(iter(items(dataset, keyword)), None)


def text(dataset: Dataset, keyword: str) -> str:
    """First value of a text element, stripped; empty where it is absent or no text."""
    values = _values(dataset, keyword)
    return values[0].strip(" \0") if values and isinstance(values[0], str) else ""


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """All values of a text element, stripped; none where it is absent or no text."""
    return [value.strip(" \0") for value in _values(dataset, keyword) if isinstance(value, str)]


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
