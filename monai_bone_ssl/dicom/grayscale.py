"""Stored values to what a display shows: the grayscale transformation of DICOM PS3.4 N.2.

Modality LUT or rescale, then VOI LUT or window, then the presentation's polarity. Each step is a function of
one stored value, so the pipeline runs once on every value that can be stored (65,536 at most) instead of on
every pixel; an image then is one table look-up.

The steps are closed forms of a line or two and stand here rather than in pydicom 3.0's ``apply_modality_lut``
and ``apply_voi_lut``: those wrap round or raise where a LUT starts below zero, refuse modality LUTs of 10 to
15 bits, warn at a VOI LUT after a rescale and overflow in a narrow sigmoid. (highdicom's ``apply_voi_window``
divides by zero at width 1.) The tests compare with pydicom where it is right.

https://dicom.nema.org/medical/dicom/current/output/chtml/part04/sect_N.2.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import XRayRadiofluoroscopicImageStorage

from monai_bone_ssl.dicom.header import (
    first_item,
    integers,
    items,
    number,
    numbers,
    readable_numbers,
    term,
    text,
)
from monai_bone_ssl.errors import CorruptImage, ReasonCode
from monai_bone_ssl.notes import Note, NoteCode

__all__ = ["GrayscaleTable", "grayscale_table", "modality_values", "stored_values"]

Values = NDArray[np.float64]


class GrayscaleTable(NamedTuple):
    """What each stored code looks like."""

    display: NDArray[np.float32]
    """[2^bits_stored] in [0, 1], bright = dense."""
    padding: NDArray[np.bool_]
    """[2^bits_stored], the codes that stand for "no image here"."""


def grayscale_table(
    header: Dataset, occurs: NDArray[np.bool_], signed: bool, notes: list[Note]
) -> GrayscaleTable:
    """Run the grayscale transformation on every stored code.

    Parameters
    ----------
    header
        The image's header.
    occurs
        [2^bits_stored], whether the image has a pixel of that code. Without VOI the display runs from the
        smallest to the largest value that occurs, padding aside.
    signed
        Whether stored values are two's complement (Pixel Representation 1).
    notes
        Where to add what was ignored: a bad window, a bad VOI LUT, a slope of 0.

    Raises
    ------
    CorruptImage
        ``INVALID_HEADER`` where a value of the modality or presentation modules makes no sense.
    """
    stored = stored_values(occurs.size, signed)
    padding = _is_padding(header, stored)
    display = _voi(header, modality_values(header, stored, notes), occurs & ~padding, notes)
    if _is_inverse(header):
        display = 1.0 - display
    display[padding] = 0.0
    return GrayscaleTable(display.astype(np.float32), padding)


def stored_values(count: int, signed: bool) -> NDArray[np.int64]:
    """Stored value of each of ``count`` codes: the code itself, or its two's complement."""
    codes = np.arange(count)
    return np.where(codes >= count // 2, codes - count, codes) if signed else codes


def _is_padding(header: Dataset, stored: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Codes of Pixel Padding Value, or between it and Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2)."""
    value = number(header, "PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, np.bool_)
    limit = number(header, "PixelPaddingRangeLimit")
    ends = [_as_stored(end, stored) for end in (value, value if limit is None else limit)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(value: float, stored: NDArray[np.int64]) -> float:
    """Undo a 16-bit value written with the wrong sign, as senders do where US and SS are ambiguous."""
    if value > stored.max() and stored.min() < 0:
        return value - 65536
    if value < 0 <= stored.min():
        return value + 65536
    return value


def modality_values(header: Dataset, stored: NDArray[np.int64], notes: list[Note]) -> Values:
    """Apply Modality LUT Sequence, or Rescale Slope and Intercept (PS3.3 C.11.1).

    Parameters
    ----------
    header
        The image's header.
    stored
        Stored values, of any shape.
    notes
        Where to add what was ignored.
    """
    values = stored.astype(np.float64)
    if _modality_is_for_measuring(header):
        return values
    item = first_item(header, "ModalityLUTSequence")
    if item is not None:
        return _look_up(item, values).output
    slope, intercept = number(header, "RescaleSlope"), number(header, "RescaleIntercept")
    if slope is None and intercept is None:
        return values
    if slope == 0:  # not even a grey picture can be meant
        notes.append(Note(NoteCode.RESCALE, "Rescale Slope is 0: the rescale was ignored"))
        return values
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    # Beyond these no display value would be left to tell apart, or arithmetic would overflow.
    if not 1e-9 <= abs(slope) <= 1e9 or abs(intercept) > 1e9:
        raise _invalid(f"Rescale Slope {slope:g} and Intercept {intercept:g} make no sense")
    return values * slope + intercept


def _modality_is_for_measuring(header: Dataset) -> bool:
    """In XRF images stored as LOG or DISP the modality LUT leads back to X-ray intensity (C.8.7.1.1.2)."""
    is_xrf = text(header, "SOPClassUID") == XRayRadiofluoroscopicImageStorage
    return is_xrf and term(header, "PixelIntensityRelationship") in ("LOG", "DISP")


def _voi(header: Dataset, values: Values, visible: NDArray[np.bool_], notes: list[Note]) -> Values:
    """Apply the first VOI LUT, else the first window, else the range of visible values (PS3.3 C.11.2).

    One that makes no sense is noted, and the next is tried.
    """
    for code, apply in _voi_attempts(header, values, notes):
        try:
            shown, put_right = apply()
        except CorruptImage as error:
            notes.append(Note(code, f"{error.text}: ignored"))
            continue
        if put_right:
            notes.append(Note(code, put_right))
        return shown
    if not visible.any():
        return np.zeros_like(values)
    low, high = values[visible].min(), values[visible].max()
    return np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(values)


def _voi_attempts(
    header: Dataset, values: Values, notes: list[Note]
) -> Iterator[tuple[NoteCode, Callable[[], tuple[Values, str]]]]:
    """VOI LUTs and windows in their order; each gives what is shown, and what was put right, if anything."""
    try:
        luts = items(header, "VOILUTSequence")
    except CorruptImage as error:
        notes.append(Note(NoteCode.VOI_LUT, f"{error.text}: ignored"))
        luts = []
    for item in luts:
        yield NoteCode.VOI_LUT, partial(_voi_lut, item, values)
    centers, widths = readable_numbers(header, "WindowCenter"), readable_numbers(header, "WindowWidth")
    for center, width in zip(centers, widths, strict=False):
        yield NoteCode.WINDOW, partial(_window, header, values, center, width)


def _voi_lut(item: Dataset, values: Values) -> tuple[Values, str]:
    """Shown in the range that the descriptor says, or that of the entries where those have other bits.

    Agfa says 16 bits over entries of 12: by the descriptor, the picture would be all dark.
    """
    lut = _look_up(item, values)
    entry_bits = lut.largest_entry.bit_length()
    if 8 <= lut.bits <= 16 and lut.bits - 1 <= entry_bits <= lut.bits:
        return lut.output / ((1 << lut.bits) - 1), ""
    text = f"LUT Descriptor of a VOI LUT says {lut.bits} bits, its entries have {entry_bits}: these were used"
    return lut.output / max((1 << entry_bits) - 1, 1), text


def _window(header: Dataset, values: Values, center: float | None, width: float | None) -> tuple[Values, str]:
    name = text(header, "VOILUTFunction") or "LINEAR"
    put_right = "" if name in _WINDOWS else "VOI LUT Function is unknown: LINEAR was used"
    name = "LINEAR" if put_right else name
    if center is None or width is None:
        raise _invalid("Window Center or Width is not a number")
    smallest = 1.0 if name == "LINEAR" else 1e-6
    if not smallest <= width <= 1e12 or abs(center) > 1e12:
        raise _invalid(f"Window Center {center:g}, Width {width:g}, expected a width of {smallest:g} or more")
    return _WINDOWS[name](values, center, width), put_right


def _linear(values: Values, center: float, width: float) -> Values:
    """PS3.3 C.11.2.1.2.1; width 1 is a threshold."""
    if width == 1.0:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _linear_exact(values: Values, center: float, width: float) -> Values:
    """PS3.3 C.11.2.1.3.2."""
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _sigmoid(values: Values, center: float, width: float) -> Values:
    """PS3.3 C.11.2.1.3.1, 1 / (1 + exp(-4 (x - c) / w)), written so that it cannot overflow."""
    return 0.5 + 0.5 * np.tanh(2.0 * (values - center) / width)


_WINDOWS: dict[str, Callable[[Values, float, float], Values]] = {
    "LINEAR": _linear,
    "LINEAR_EXACT": _linear_exact,
    "SIGMOID": _sigmoid,
}


class _LookedUp(NamedTuple):
    output: Values
    largest_entry: int
    bits: int
    """Bits of an entry, as the descriptor says."""


def _look_up(item: Dataset, values: Values) -> _LookedUp:
    """Apply one item of a Modality or VOI LUT Sequence (PS3.3 C.11.1.1, C.11.2.1.1)."""
    descriptor = integers(item, "LUTDescriptor")
    if descriptor is None or len(descriptor) != 3:
        raise _invalid("LUT Descriptor has not three values")
    count, first, bits = descriptor[0] & 0xFFFF or 65536, descriptor[1], descriptor[2]
    entries = _lut_entries(item, count, bits)
    if first < 0 <= values.min():  # written as SS, meant as US
        first += 65536
    elif first > 32767 and values.min() < 0:
        first -= 65536
    index = np.clip(np.rint(values) - first, 0, count - 1).astype(np.int64)
    return _LookedUp(entries[index].astype(np.float64), int(entries.max()), bits)


def _lut_entries(item: Dataset, count: int, bits: int) -> NDArray[np.uint16]:
    """LUT Data as ``count`` words; 8-bit entries may be packed two a word."""
    words = _lut_words(item)
    if bits == 8 and words.size < count <= 2 * words.size:
        words = words.astype("<u2").view(np.uint8).astype(np.uint16)
    if words.size < count:
        raise _invalid(f"LUT Data has {words.size} entries, LUT Descriptor says {count}")
    return words[:count]


def _lut_words(item: Dataset) -> NDArray[np.uint16]:
    value = item.get("LUTData")
    if isinstance(value, bytes):
        little_endian = item.original_encoding[1] is not False
        return np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little_endian else ">u2")
    entries = numbers(item, "LUTData")
    if entries is None:
        raise _invalid("LUT Data is missing")
    return (np.asarray(entries, np.int64) & 0xFFFF).astype(np.uint16)


def _is_inverse(header: Dataset) -> bool:
    """Whether the largest value is shown black, so that bone must be inverted to be bright.

    MONOCHROME1 and Presentation LUT Shape INVERSE say the same thing (PS3.3 C.8.11.1), as MONOCHROME2 and
    IDENTITY do: once is enough. Where the two contradict one another, some viewers follow the one and some
    the other, and nobody can tell whether bone is bright.
    """
    shape = term(header, "PresentationLUTShape")
    monochrome1 = text(header, "PhotometricInterpretation") == "MONOCHROME1"
    if shape not in ("", "IDENTITY", "INVERSE"):
        raise _invalid("Presentation LUT Shape is neither IDENTITY nor INVERSE")
    if shape and monochrome1 != (shape == "INVERSE"):
        photometric = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
        raise _invalid(f"Photometric Interpretation {photometric} contradicts Presentation LUT Shape {shape}")
    return monochrome1


def _invalid(text: str) -> CorruptImage:
    return CorruptImage(ReasonCode.INVALID_HEADER, text)
