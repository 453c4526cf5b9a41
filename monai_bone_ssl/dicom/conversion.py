"""Values of a parsed data set: bytes to text, numbers and sequences, all at once."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from pydicom import DataElement, Dataset
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.valuerep import VR, PersonName

from monai_bone_ssl.dicom.text import UNDECODED, Repertoire, decode_text, repertoire_of
from monai_bone_ssl.notes import Note, NoteCode

__all__ = ["MAX_VALUES", "PYDICOM_ERRORS", "Conversion"]

#: What pydicom raises on damaged input, at parsing or at conversion. UserWarning: its warnings, made errors.
PYDICOM_ERRORS = (
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

#: Elements, values and items of the largest header; a radiograph's has some hundred.
MAX_VALUES = 100_000

_IMAGE_GROUP = 0x0028
_CHARACTER_SET = 0x00080005
# Value representations of text in a character set (PS3.5 6.1.2.3), and where their text begins anew.
_CONTROLS = b"\t\n\f\r"
_SEVERAL = dict.fromkeys((VR.SH, VR.LO, VR.UC, VR.CS), _CONTROLS + b"\\")
_NAME = {VR.PN: _CONTROLS + b"\\^="}
_SINGLE = {VR.ST: _CONTROLS, VR.LT: _CONTROLS, VR.UT: _CONTROLS}
_RESETS = _SEVERAL | _NAME | _SINGLE


class Conversion:
    """Converts the values of data sets, with what came up on the way.

    An element that cannot be converted is left out; in the image group 0028 it stays, as unknown bytes, so
    that whoever needs it finds it unreadable instead of absent. Text becomes UTF-8, and Specific Character
    Set says so; what could not be decoded is marked with U+FFFD.
    """

    def __init__(self) -> None:
        self._left = MAX_VALUES
        self._misspelt = False
        self._reread: list[str] = []

    @property
    def is_too_large(self) -> bool:
        """Whether there were more values than may be; then not all were converted."""
        return self._left < 0

    @property
    def notes(self) -> list[Note]:
        """What was put right."""
        notes = []
        if self._misspelt:
            text = "Specific Character Set is no term of the standard: read as what it resembles"
            notes.append(Note(NoteCode.CHARACTER_SET, text))
        if self._reread:
            names = ", ".join(dict.fromkeys(self._reread))
            text = (
                f"{names}: not in the character set that the header names, read as what the bytes plainly are"
            )
            notes.append(Note(NoteCode.CHARACTER_SET, text))
        return notes

    def convert(self, dataset: Dataset, inherited: Repertoire | None = None) -> None:
        """Convert every value, in sequences too.

        Parameters
        ----------
        dataset
            What pydicom parsed; changed in place.
        inherited
            Repertoire of the data set around it; None where that has an unknown one.
        """
        repertoire = self._repertoire(dataset, inherited)
        for element in list(dataset.values()):
            tag = element.tag
            try:
                self._convert(dataset, element, repertoire)
            except PYDICOM_ERRORS:
                del dataset[tag]
                if tag.group == _IMAGE_GROUP:
                    unknown = element.value if isinstance(element.value, bytes) else b"?"
                    dataset[tag] = DataElement(tag, VR.OB, unknown)
            if self._left < 0:
                break
        if _CHARACTER_SET in dataset:
            dataset.SpecificCharacterSet = "ISO_IR 192"

    def _repertoire(self, dataset: Dataset, inherited: Repertoire | None) -> Repertoire | None:
        if _CHARACTER_SET not in dataset:
            return inherited
        value = dataset[_CHARACTER_SET].value
        terms = [str(term) for term in ([value] if isinstance(value, str) else value or [""])]
        repertoire = repertoire_of(terms)
        self._misspelt |= repertoire is not None and any(term not in python_encoding for term in terms)
        return repertoire

    def _convert(
        self, dataset: Dataset, element: RawDataElement | DataElement, repertoire: Repertoire | None
    ) -> None:
        if isinstance(element, RawDataElement):
            if element.value is None and element.length:
                raise ValueError("too large to be of any use")
            vr = _text_vr(element)
            if vr is not None and element.value:
                element = self._text_element(element, vr, repertoire)
                dataset[element.tag] = element
        converted = dataset[element.tag]
        self._left -= max(converted.VM, 1)
        for item in converted.value if converted.VR == VR.SQ else ():
            self._left -= 1
            self.convert(item, repertoire)

    def _text_element(self, raw: RawDataElement, vr: VR, repertoire: Repertoire | None) -> DataElement:
        text, as_declared = decode_text(raw.value or b"", repertoire, _RESETS[vr])
        values = [value.rstrip("\0 ") for value in ([text] if vr in _SINGLE else text.split("\\"))]
        names = [PersonName(value, ["UTF8"]) for value in values] if vr in _NAME else None
        converted: Sequence[str | PersonName] = names or values
        element = DataElement(raw.tag, vr, converted[0] if len(converted) == 1 else converted)
        if not as_declared and UNDECODED not in text:
            self._reread.append(element.keyword or "a private element")
        return element


def _text_vr(raw: RawDataElement) -> VR | None:
    """VR of an element of text; None of any other, and of private ones in implicit VR.

    A Code String is one where it has words in another script, as some departments write body parts.
    """
    vr = raw.VR
    if vr in (None, VR.UN) and not raw.tag.is_private:
        try:
            vr = dictionary_VR(raw.tag)
        except KeyError:
            return None
    if vr == VR.CS and raw.value is not None and raw.value.isascii():  # as it has to be
        return None
    return VR(vr) if vr in _RESETS else None
