"""Whether DICOM headers belong to one patient: the right patient, or no report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations

from pydicom import Dataset

from monai_bone_ssl.dicom.source_values import unwritable_identity
from monai_bone_ssl.dicom.text import UNDECODED
from monai_bone_ssl.errors import CorruptImage, ReasonCode, ReportError

__all__ = [
    "check_decodable",
    "check_one_patient",
    "differing_attribute",
    "patient_key",
    "undecodable_attribute",
    "undecodable_text",
]

_PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")
_IDENTIFYING = (*_PATIENT, "AccessionNumber")
# What may be missing in some of a patient's files.
_OPTIONAL = ("IssuerOfPatientID", "PatientBirthDate")


def patient_key(header: Dataset) -> tuple[str, ...]:
    """Patient ID, issuer, name and birth date, without what is insignificant in them.

    Patient data: never to be shown or logged.
    """
    identifier, issuer, name, birth_date = (str(header.get(keyword) or "") for keyword in _PATIENT)
    return identifier.strip(), issuer.strip(), _plain_name(name), birth_date.strip().replace(".", "")


def _plain_name(name: str) -> str:
    """A name without padding: blanks, and components and groups that are empty at the end (PS3.5 6.2.1)."""
    groups = ("^".join(part.strip() for part in group.split("^")).rstrip("^") for group in name.split("="))
    return "=".join(groups).rstrip("=")


def differing_attribute(keys: Collection[tuple[str, ...]]) -> str | None:
    """The attribute in which some of a study's files name another patient than others.

    An issuer or a birth date that is missing in some files contradicts nothing where they share a Patient
    ID, and neither does an ideographic or phonetic group of a name. What could not be decoded is not
    compared.

    Parameters
    ----------
    keys
        Keys of all files, from :func:`patient_key`.
    """
    have_identifier = all(identifier for identifier, *_ in keys)
    for keyword, values in zip(_PATIENT, map(set, zip(*keys, strict=True)), strict=False):
        known = {value for value in values if UNDECODED not in value}
        if keyword in _OPTIONAL and have_identifier:
            known.discard("")
        agree = _one_name(known) if keyword == "PatientName" else len(known) <= 1
        if not agree:
            return keyword
    return None


def _one_name(names: Collection[str]) -> bool:
    return all(_same_name(first, second) for first, second in combinations(names, 2))


def _same_name(first: str, second: str) -> bool:
    """Whether two names share a group, alphabetic, ideographic or phonetic, and differ in none they share."""
    both = [pair for pair in zip(first.split("="), second.split("="), strict=False) if all(pair)]
    return bool(both) and all(one == other for one, other in both)


def undecodable_attribute(header: Dataset) -> str | None:
    """The first identifying attribute that could not be decoded with certainty, or not be written again."""
    values = ((keyword, str(header.get(keyword) or "")) for keyword in _IDENTIFYING)
    undecoded = next((keyword for keyword, value in values if UNDECODED in value), None)
    return undecoded or unwritable_identity(header)


def undecodable_text(keyword: str) -> str:
    """Why there is no report on an image whose identity cannot be read."""
    expected = "one value that its VR allows, in the character set that the header names"
    return f"{keyword} cannot be read with certainty: expected {expected}"


def check_decodable(header: Dataset) -> None:
    """Refuse an image whose patient or order cannot be told.

    Raises
    ------
    CorruptImage
        ``UNDECODABLE_IDENTITY`` with the attribute's name.
    """
    keyword = undecodable_attribute(header)
    if keyword is not None:
        raise CorruptImage(ReasonCode.UNDECODABLE_IDENTITY, undecodable_text(keyword))


def check_one_patient(headers: Sequence[Dataset], study_instance_uid: str) -> None:
    """Refuse headers that do not all belong to one study of one patient.

    Raises
    ------
    ReportError
        ``CONFLICTING_PATIENT``, ``UNDECODABLE_IDENTITY``, or ``REPORT_FAILED`` where one is of another study.
    """
    uid = study_instance_uid
    differing = differing_attribute([patient_key(header) for header in headers])
    if differing is not None:
        text = f"study {uid}: its images differ in {differing}, expected one"
        raise ReportError(ReasonCode.CONFLICTING_PATIENT, text)
    undecodable = next(filter(None, map(undecodable_attribute, headers)), None)
    if undecodable is not None:
        raise ReportError(ReasonCode.UNDECODABLE_IDENTITY, f"study {uid}: {undecodable_text(undecodable)}")
    if any(header.get("StudyInstanceUID") != uid for header in headers):
        raise ReportError(
            ReasonCode.REPORT_FAILED, f"study {uid}: an image of another study, expected only its own"
        )
