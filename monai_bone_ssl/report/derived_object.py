"""Patient, study, equipment and time, which every DICOM object that this package makes has alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path

from highdicom import ContributingEquipment
from highdicom.base import SOPClass
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import DA, DT, TM

from monai_bone_ssl.dicom.source_values import source_values
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.report.content import Algorithm

__all__ = [
    "UIDS",
    "contributing_equipment",
    "copy_patient_and_study",
    "set_time",
    "without_patient",
    "write_object",
]

#: Attributes of an image that an object needs to refer to the image.
UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")

_COPIED_LATER = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)


def without_patient(header: Dataset, keywords: Sequence[str]) -> Dataset:
    """Copy what highdicom's constructors need of a source image, with patient and study left empty.

    The constructors would take patient and study too, but refuse headers without some optional attributes,
    reject values that a modality may send, and warn with the patient's name in the text.
    :func:`copy_patient_and_study` fills both in.

    Parameters
    ----------
    header
        Header of the source image.
    keywords
        Attributes to copy, all of which the header has.
    """
    reference = Dataset()
    for keyword in keywords:
        setattr(reference, keyword, header[keyword].value)
    for keyword in _COPIED_LATER:
        setattr(reference, keyword, "")
    return reference


def copy_patient_and_study(target: SOPClass, header: Dataset) -> None:
    """Copy patient and study from the source's header; attributes that it lacks stay empty.

    Values that the standard does not allow are put right or left out, see
    :mod:`monai_bone_ssl.dicom.source_values`.
    """
    target.update(source_values(header).dataset)


def contributing_equipment(
    algorithm: Algorithm, contribution: str = "Algorithm that made the findings"
) -> ContributingEquipment:
    """Contributing equipment for the algorithm, with a Device UID that changes at every retraining."""
    equipment = ContributingEquipment(
        manufacturer=algorithm.manufacturer,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=algorithm.model_name,
        software_versions=(algorithm.software_version, algorithm.model_version),
        contribution_description=contribution,
    )
    equipment.DeviceUID = algorithm.device_uid
    return equipment


def set_time(target: SOPClass, created: datetime) -> None:
    """Write one time everywhere, where highdicom would read the clock again."""
    target.InstanceCreationDate = DA(created.date())
    target.InstanceCreationTime = TM(created.time())
    for equipment in target.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = DT(created)


def write_object(target: SOPClass, prefix: str, folder: Path) -> Path:
    """Write an object as ``<prefix>_<SOP Instance UID>.dcm``, whole or not at all.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where the file system refuses; no part of a file is left.
    """
    path = folder / f"{prefix}_{target.SOPInstanceUID}.dcm"
    # In memory first: pydicom would wrap a full disk's error in a traceback of its own.
    buffer = BytesIO()
    target.save_as(buffer, enforce_file_format=True)
    write_atomically(path, buffer.getvalue())
    return path
