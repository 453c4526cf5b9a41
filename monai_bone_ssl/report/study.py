"""One Comprehensive 3D SR a study: the findings of all its images, coded as DICOM TID 1500.

The document follows IHE AI Results (AIR): Contributing Equipment names the model with a Device UID that
changes at every retraining. Text is UTF-8, patient and study are the source's, UIDs depend on nothing but the
images, their status and the algorithm. The report is preliminary, unverified and for research: the answer of
an algorithm, not of a reader.

Content tree: :mod:`monai_bone_ssl.report.algorithm_content`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path

from highdicom import ContentQualificationValues
from highdicom.sr import Comprehensive3DSR
from pydicom import Dataset, config
from pydicom.uid import UID, Comprehensive3DSRStorage

from monai_bone_ssl.dicom.patient import check_one_patient
from monai_bone_ssl.dicom.uids import derived_uid
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import AnsweredImage, ImageAnalysis, Status, StudyFinding, Target
from monai_bone_ssl.report.algorithm_content import measurement_report
from monai_bone_ssl.report.content import LAYOUT, Algorithm
from monai_bone_ssl.report.derived_object import (
    UIDS,
    contributing_equipment,
    copy_patient_and_study,
    set_time,
    without_patient,
    write_object,
)
from monai_bone_ssl.wording import counted

__all__ = [
    "NO_HISTORY",
    "EarlierReport",
    "History",
    "is_referable",
    "study_report",
    "write_report",
]

_SERIES_NUMBER = 9001  # far from the numbers a modality gives its own series


@dataclass(frozen=True)
class EarlierReport:
    """A report on a study that the archive was given before."""

    sop_instance_uid: str
    series_instance_uid: str
    images: Sequence[str]
    """SOP Instance UIDs of the images that the report is about."""


@dataclass(frozen=True)
class History:
    """What happened to a study before its report is made."""

    reports: Sequence[EarlierReport] = ()
    """Reports that the archive was given, the first one first."""
    corrections: int = 0
    """Number of times that the study was sent anew, with another name of the patient or other corrections."""


NO_HISTORY = History()


def study_report(
    images: Sequence[ImageAnalysis],
    study: StudyFinding,
    target: Target,
    algorithm: Algorithm,
    created: datetime,
    history: History = NO_HISTORY,
) -> Comprehensive3DSR:
    """Report the findings in all images of one study.

    Parameters
    ----------
    images
        All images of the study. Those without a header, and objects without pixels, cannot be referenced and
        are left out; of several with one SOP Instance UID the answered one is reported.
    study
        Conclusion of the study.
    target
        Condition that the model looks for.
    algorithm
        The model and the software around it.
    created
        Time of the report; the UIDs do not depend on it.
    history
        Reports that the archive was given before. The last one is named as the predecessor (DICOM PS3.3
        section C.17.2), and the conclusion says how many images are new.

    Returns
    -------
    highdicom.sr.Comprehensive3DSR
        The report, not written yet.

    Raises
    ------
    ReportError
        ``CONFLICTING_PATIENT`` where the headers name more than one patient; ``MISSING_IDENTIFIER`` where
        an answered image, or every image, cannot be referenced; ``REPORT_FAILED`` where a header, a finding
        and the study do not belong together.
    """
    headers = [image.header for image in images if image.header is not None]
    check_one_patient(headers, study.study_instance_uid)
    referenced = _referenced(images, study)
    first = referenced[0][1]
    sources = _identity(referenced, study, algorithm, history)
    uid = derived_uid("report", *sources)
    predecessor = _predecessor(uid, history)
    report = Comprehensive3DSR(
        evidence=[without_patient(header, UIDS) for _, header in referenced],
        content=measurement_report(
            images, referenced, study, target, algorithm, _what_is_new(referenced, predecessor)
        ),
        series_instance_uid=derived_uid("series", *sources),
        series_number=_SERIES_NUMBER,
        series_description=f"{target.name.capitalize()} analysis (AI, unverified)",
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=algorithm.manufacturer,
        manufacturer_model_name=algorithm.model_name,
        software_versions=algorithm.software_version,
        is_complete=study.status is Status.ANALYSED,
        content_qualification=ContentQualificationValues.RESEARCH,
        content_date=created.date(),
        content_time=created.time(),
        specific_character_set="ISO_IR 192",
        contributing_equipment=[contributing_equipment(algorithm)],
        previous_versions=None if predecessor is None else [_reference(predecessor, study)],
    )
    copy_patient_and_study(report, first)
    set_time(report, created)
    return report


def write_report(report: Comprehensive3DSR, folder: Path) -> Path:
    """Write a report as ``SR_<SOP Instance UID>.dcm``, whole or not at all; a file of that name is replaced.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where the file system refuses; no part of a file is left.
    """
    return write_object(report, "SR", folder)


# --- what belongs together ----------------------------------------------------------------------------


def _referenced(images: Sequence[ImageAnalysis], study: StudyFinding) -> list[tuple[ImageAnalysis, Dataset]]:
    """Images that can be referenced with their headers, in the order given, each SOP instance once."""
    chosen: dict[str, tuple[ImageAnalysis, Dataset]] = {}
    for image in images:
        answered = isinstance(image, AnsweredImage)
        if image.header is None or not is_referable(image.header):
            if answered:
                raise ReportError(
                    ReasonCode.MISSING_IDENTIFIER,
                    f"{Path(image.finding.path).name}: analysed, but its header cannot be referenced",
                )
            continue
        uid = image.header.SOPInstanceUID
        if image.finding.sop_instance_uid != uid:
            raise ReportError(
                ReasonCode.REPORT_FAILED,
                f"{Path(image.finding.path).name}: the header is not the one of the finding",
            )
        if answered or uid not in chosen:
            chosen[uid] = (image, image.header)
    if not chosen:
        raise ReportError(
            ReasonCode.MISSING_IDENTIFIER, f"study {study.study_instance_uid}: no image to refer to"
        )
    return list(chosen.values())


def is_referable(header: Dataset) -> bool:
    """Whether an image has valid UIDs, a SOP class of the standard, and the size that only an image has."""
    uids = [UID(header.get(keyword) or "", config.IGNORE) for keyword in UIDS]
    is_image = bool(header.get("Rows") and header.get("Columns"))
    return is_image and all(uid.is_valid for uid in uids) and _is_current(uids[0])


# Baggage (DICOS) and material testing (DICONDE) share DICOM's root, but not the information model.
_INDUSTRIAL = ("1.2.840.10008.5.1.4.1.1.501.", "1.2.840.10008.5.1.4.1.1.601.")


def _is_current(sop_class: UID) -> bool:
    """Whether a SOP class is a medical one of today's standard: other classes' modules are not known."""
    is_public = sop_class.name != sop_class  # pydicom has no names of private classes
    return is_public and not sop_class.is_retired and not sop_class.startswith(_INDUSTRIAL)


def _identity(
    referenced: Sequence[tuple[ImageAnalysis, Dataset]],
    study: StudyFinding,
    algorithm: Algorithm,
    history: History,
) -> list[str]:
    """Values that the report's UIDs depend on.

    The status of each image is among them, the number of unread files, and that of corrections: an archive
    keeps the first of two objects with one UID, so that a report in which an image failed would stand in the
    way of a later one in which the image is analysed.
    """
    sources = sorted(f"{header.SOPInstanceUID} {image.finding.status}" for image, header in referenced)
    sources += [f"{study.unread_files} unread"] if study.unread_files else []
    sources += [f"{history.corrections} corrections"] if history.corrections else []
    return [algorithm.fingerprint, algorithm.software_version, LAYOUT, *sources]


# --- what came before ---------------------------------------------------------------------------------


def _predecessor(uid: UID, history: History) -> EarlierReport | None:
    """Last report before the one of this UID, which may have been made and sent before."""
    earlier = list(takewhile(lambda report: report.sop_instance_uid != uid, history.reports))
    return earlier[-1] if earlier else None


def _reference(report: EarlierReport, study: StudyFinding) -> Dataset:
    reference = Dataset()
    reference.SOPClassUID = Comprehensive3DSRStorage
    reference.SOPInstanceUID = report.sop_instance_uid
    reference.StudyInstanceUID = study.study_instance_uid
    reference.SeriesInstanceUID = report.series_instance_uid
    return reference


def _what_is_new(
    referenced: Sequence[tuple[ImageAnalysis, Dataset]], predecessor: EarlierReport | None
) -> str:
    """Sentence about what the report adds to its predecessor; empty where it has none."""
    if predecessor is None:
        return ""
    new = {str(header.SOPInstanceUID) for _, header in referenced} - set(predecessor.images)
    what = f"adds {counted(len(new), 'image')}" if new else "adds no image"
    return f" This report replaces an earlier one and {what}."
