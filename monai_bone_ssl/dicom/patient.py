"""Whether DICOM headers belong to one patient: the right patient, or no report."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from monai_bone_ssl.errors import ReasonCode, ReportError

__all__ = ["check_one_patient", "patient_key"]

_PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")


def patient_key(header: Dataset) -> tuple[str, ...]:
    """What must be equal in all headers of one patient. Patient data: never to be shown or logged."""
    # Empty trailing components of a name say nothing (PS3.5 section 6.2.1).
    return tuple(str(header.get(keyword) or "").rstrip("^= ") for keyword in _PATIENT)


def check_one_patient(headers: Sequence[Dataset], study_instance_uid: str) -> None:
    """Refuse headers that do not all belong to one study of one patient.

    Raises
    ------
    ReportError
        ``CONFLICTING_PATIENT``, or ``REPORT_FAILED`` where one is of another study.
    """
    uid = study_instance_uid
    for keyword, values in zip(_PATIENT, zip(*map(patient_key, headers), strict=True), strict=False):
        if len(set(values)) > 1:
            raise ReportError(
                ReasonCode.CONFLICTING_PATIENT, f"study {uid}: its images differ in {keyword}, expected one"
            )
    if any(header.get("StudyInstanceUID") != uid for header in headers):
        raise ReportError(
            ReasonCode.REPORT_FAILED, f"study {uid}: an image of another study, expected only its own"
        )
