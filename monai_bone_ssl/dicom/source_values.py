"""Patient and study of an image, as the objects that are derived from the image carry them.

Senders write values that their value representation (VR) does not allow. A derived object never repeats one:
a value that has a valid form of the same meaning is put right, any other is left out. What says who the
patient is may not change on the way: see :func:`unwritable_identity`.

https://dicom.nema.org/medical/dicom/current/output/chtml/part05/sect_6.2.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from pydicom import Dataset, config
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID
from pydicom.valuerep import MAX_VALUE_LEN, VR

from monai_bone_ssl.notes import Note, NoteCode

__all__ = ["SourceValues", "source_values", "unwritable_identity"]

# Attributes of the modules Patient, General Study, Patient Study and Clinical Trial Subject (PS3.3 C.7).
_COPIED = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "TypeOfPatientID", "PatientBirthDate"),
    *("PatientBirthTime", "PatientSex", "OtherPatientNames", "PatientComments", "QualityControlSubject"),
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription", "ReferringPhysicianName"),
    *("ConsultingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "RequestingService"),
    *("AdmittingDiagnosesDescription", "PatientAge", "PatientSize", "PatientWeight", "MedicalAlerts"),
    *("Allergies", "Occupation", "SmokingStatus", "AdditionalPatientHistory", "PregnancyStatus"),
    *("LastMenstrualDate", "ReasonForVisit", "AdmissionID", "ServiceEpisodeID", "ServiceEpisodeDescription"),
    "PatientState",
)
# Attributes that are valid together only, and are copied all or not at all.
_COPIED_TOGETHER = (
    ("PatientIdentityRemoved", "DeidentificationMethod"),
    (
        *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName"),
        *("ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID"),
    ),
)
# Sequences, and the attributes that make an item: the first group of which the item has all.
_CODE = (
    ("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning"),
    ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"),
)
_UNIVERSAL = ("UniversalEntityID", "UniversalEntityIDType")
_ITEMS: Mapping[str, Sequence[Sequence[str]]] = {
    "OtherPatientIDsSequence": (
        ("PatientID", "IssuerOfPatientID", "TypeOfPatientID"),
        ("PatientID", "TypeOfPatientID"),
    ),
    "IssuerOfPatientIDQualifiersSequence": (_UNIVERSAL,),
    "IssuerOfAccessionNumberSequence": (
        ("LocalNamespaceEntityID", *_UNIVERSAL),
        ("LocalNamespaceEntityID",),
        _UNIVERSAL,
    ),
    "ReferencedStudySequence": (("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"),),
    "ProcedureCodeSequence": _CODE,
    "ReasonForPerformedProcedureCodeSequence": _CODE,
    "AdmittingDiagnosesCodeSequence": _CODE,
    "ReasonForVisitCodeSequence": _CODE,
}

_YES_OR_NO = ("YES", "NO")
_ENUMERATED: Mapping[str, Sequence[str]] = {
    "PatientSex": ("M", "F", "O"),
    "TypeOfPatientID": ("TEXT", "RFID", "BARCODE"),
    "QualityControlSubject": _YES_OR_NO,
    "PatientIdentityRemoved": _YES_OR_NO,
    "SmokingStatus": (*_YES_OR_NO, "UNKNOWN"),
    "PregnancyStatus": ("1", "2", "3", "4"),
    "UniversalEntityIDType": ("DNS", "EUI64", "ISO", "URI", "UUID", "X400", "X500"),
}
_SEXES = {"MALE": "M", "FEMALE": "F", "OTHER": "O"}
_LINES = (VR.ST, VR.LT, VR.UT)  # text that may have line ends and tabs
_PADDING = " \0\t\r\n"


@dataclass(frozen=True)
class SourceValues:
    """Values that derived objects take over from an image."""

    dataset: Dataset = field(default_factory=Dataset)
    """Patient and study, each value valid for its VR; without what the header lacks."""
    put_right: list[str] = field(default_factory=list)
    """Keywords of attributes whose values have another form than in the header, with the same meaning."""
    left_out: list[str] = field(default_factory=list)
    """Keywords of attributes with a value that has no valid form."""

    @property
    def notes(self) -> list[Note]:
        """Attributes that were put right or left out, in words."""
        parts = (("put right in reports", self.put_right), ("left out of reports", self.left_out))
        return [
            Note(NoteCode.INVALID_VALUE, f"{', '.join(keywords)}: not valid as written, {words}")
            for words, keywords in parts
            if keywords
        ]


def source_values(header: Dataset) -> SourceValues:
    """Take patient and study out of the header of an image.

    Parameters
    ----------
    header
        Header of an image, as this package reads headers; not changed.
    """
    values = SourceValues()
    for keywords in (*((keyword,) for keyword in _COPIED), *_COPIED_TOGETHER):
        _copy(header, keywords, values)
    for keyword, groups in _ITEMS.items():
        items = _items(header, keyword)
        valid = [copy for item in items if (copy := _valid_item(item, groups)) is not None]
        if valid:
            setattr(values.dataset, keyword, valid)
        if len(valid) < len(items):
            values.left_out.append(keyword)
    return values


def unwritable_identity(header: Dataset) -> str | None:
    """The first attribute of the patient's identity that a derived object could not carry as it is.

    In a name, a character that no name may have becomes a blank, where there is a Patient ID in addition.

    Returns
    -------
    Keyword of the attribute; None where there is none.
    """
    has_identifier = bool(_read(header, "PatientID").valid)
    for keyword in ("PatientID", "IssuerOfPatientID", "PatientName"):
        written, valid = _read(header, keyword)
        may_differ = keyword == "PatientName" and has_identifier and bool(valid)
        if written != valid and not may_differ:
            return keyword
    return None


class _Values(NamedTuple):
    """Values of an attribute without padding, and their valid forms: one each, or none at all."""

    written: list[str]
    valid: list[str]


def _read(header: Dataset, keyword: str) -> _Values:
    value = header.get(keyword)
    if value is None:
        return _Values([], [])
    values = list(value) if isinstance(value, MultiValue | list) else [value]
    if any(isinstance(single, bytes | Dataset) for single in values):  # of another VR than the standard's
        return _Values(["?"], [])
    written = [str(single).strip(_PADDING) for single in values]
    if not any(written):
        return _Values([], [])
    whole = _one_name(written) if keyword == "PatientName" else written
    forms = [form for text in whole if (form := _form(keyword, text))]
    is_valid = len(forms) == len(whole) and (len(forms) == 1 or dictionary_VM(keyword) != "1")
    return _Values(written, forms if is_valid else [])


def _one_name(values: Sequence[str]) -> Sequence[str]:
    """A name with backslashes, which split it into values, as one; two names stay two."""
    names = sum("^" in value or "=" in value for value in values)
    return [" ".join(values)] if names <= 1 else values


def _copy(header: Dataset, keywords: Sequence[str], values: SourceValues) -> None:
    """Copy attributes if all of them have valid values; most are alone."""
    found = {keyword: _read(header, keyword) for keyword in keywords}
    if all(valid for _, valid in found.values()):
        for keyword, (written, valid) in found.items():
            _set(values.dataset, keyword, valid)
            values.put_right.extend([keyword] if valid != written else [])
    else:
        values.left_out.extend(keyword for keyword in keywords if found[keyword].written)


def _set(dataset: Dataset, keyword: str, valid: Sequence[str]) -> None:
    values = [int(text) for text in valid] if dictionary_VR(keyword) == VR.US else list(valid)
    setattr(dataset, keyword, values[0] if len(values) == 1 else values)


def _items(header: Dataset, keyword: str) -> Sequence[Dataset]:
    value = header.get(keyword)
    return list(value) if isinstance(value, DicomSequence) else []


def _valid_item(item: Dataset, groups: Sequence[Sequence[str]]) -> Dataset | None:
    """Copy of an item with the first group of attributes that are all valid; None where there is none."""
    for keywords in groups:
        found = {keyword: _read(item, keyword).valid for keyword in keywords}
        if all(found.values()):
            copy = Dataset()
            for keyword, valid in found.items():
                _set(copy, keyword, valid)
            return copy
    return None


# --- one value ----------------------------------------------------------------------------------------


def _form(keyword: str, text: str) -> str | None:
    """Valid form of one value; None where it has none."""
    vr = VR(dictionary_VR(keyword))
    form = _FORMS[vr](text) if vr in _FORMS else _text(text, vr)
    if keyword == "PatientSex" and form is not None:
        form = _SEXES.get(form, form)
    return form if form in _ENUMERATED.get(keyword, (form,)) else None


def _text(text: str, vr: VR) -> str | None:
    kept = "\t\n\f\r" if vr in _LINES else ""
    plain = "".join(" " if _is_control(c) and c not in kept else c for c in text)
    plain = plain if vr in _LINES else plain.replace("\\", " ")
    return plain.strip() if len(plain) <= MAX_VALUE_LEN.get(vr, len(plain)) else None


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def _name(text: str) -> str | None:
    """Person name: at most three groups of 64 characters with five components each."""
    groups = (_text(text, VR.PN) or "").split("=")
    groups = [group if group.count("^") <= 4 else group.rstrip("^") for group in groups]
    fits = len(groups) <= 3 and all(len(group) <= 64 and group.count("^") <= 4 for group in groups)
    return "=".join(groups) if fits else None


def _date(text: str) -> str | None:
    """Date; that of ACR-NEMA, with dots, is put right."""
    digits = re.fullmatch(r"(\d{4})(\.?)(\d{2})\2(\d{2})", text, re.ASCII)
    if digits is None:
        return None
    date = digits[1] + digits[3] + digits[4]
    try:
        datetime.strptime(date, "%Y%m%d")
    except ValueError:
        return None
    return date


def _time(text: str) -> str | None:
    """Time; that of ACR-NEMA, with colons, is put right."""
    hour, sixty = r"([01]\d|2[0-3])", r"([0-5]\d)"
    pattern = rf"{hour}(?:(:?){sixty}(?:\2{sixty}(?:(\.\d{{1,6}})\d*)?)?)?"
    parts = re.fullmatch(pattern, text, re.ASCII)
    return None if parts is None else "".join(part or "" for part in parts.group(1, 3, 4, 5))


def _age(text: str) -> str | None:
    """Age; a number without a unit has no certain meaning."""
    age = re.fullmatch(r"0*(\d{1,3}) *([DWMY])", text.upper(), re.ASCII)
    return None if age is None else f"{age[1]:>03}{age[2]}"


def _code_string(text: str) -> str | None:
    return text.upper() if re.fullmatch("[A-Z0-9 _]{1,16}", text.upper(), re.ASCII) else None


def _decimal(text: str) -> str | None:
    number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII)
    return text if number is not None and len(text) <= MAX_VALUE_LEN[VR.DS] else None


def _uid(text: str) -> str | None:
    return text if UID(text, config.IGNORE).is_valid else None


_FORMS: Mapping[VR, Callable[[str], str | None]] = {
    VR.PN: _name,
    VR.DA: _date,
    VR.TM: _time,
    VR.AS: _age,
    VR.CS: _code_string,
    VR.DS: _decimal,
    VR.UI: _uid,
    VR.US: str,
}
