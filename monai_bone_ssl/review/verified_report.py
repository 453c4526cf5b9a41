"""A reader's verdicts on one study as a verified Comprehensive 3D SR that refers to the algorithm's.

Content tree: :mod:`monai_bone_ssl.review.verified_content`. Patient and study are the source's, the UIDs
depend on nothing but the images, the verdicts, the reader and what was reviewed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from highdicom.sr import Comprehensive3DSR
from pydicom import Dataset
from pydicom.valuerep import DT

from monai_bone_ssl import __version__
from monai_bone_ssl.dicom.patient import check_one_patient
from monai_bone_ssl.dicom.uids import derived_uid
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import Target
from monai_bone_ssl.report.content import Algorithm
from monai_bone_ssl.report.derived_object import (
    UIDS,
    contributing_equipment,
    copy_patient_and_study,
    set_time,
    without_patient,
)
from monai_bone_ssl.report.study import is_referable
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.verified_content import ReviewedImage, verified_content
from monai_bone_ssl.show.results import SOFTWARE_NAME

__all__ = ["verified_report"]

_SERIES_NUMBER = 9004  # after the algorithm's report and its evidence


def verified_report(
    images: Sequence[ReviewedImage],
    reader: Reader,
    predecessor: Dataset | None,
    target: Target,
    algorithm: Algorithm | None,
    created: datetime,
) -> Comprehensive3DSR:
    """Report a reader's verdicts on all images of one study.

    Parameters
    ----------
    images
        All images of the study, read or not, each once.
    reader
        Whose verdicts they are, with an organization.
    predecessor
        The algorithm's report of the study; None where there is none.
    target
        The question.
    algorithm
        Whose result the reader reviewed; None where there was none.
    created
        When the report is verified. UIDs do not depend on it.

    Returns
    -------
    highdicom.sr.Comprehensive3DSR
        Not written yet.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the reader has no organization, which DICOM asks for.
    ReportError
        ``CONFLICTING_PATIENT`` where the headers, or the predecessor, name another patient;
        ``REPORT_FAILED`` where they are of another study, no image was read, a verdict is another image's or
        a marked place is outside its image; ``MISSING_IDENTIFIER`` where an image cannot be referenced.
    """
    _check(images, reader, predecessor)
    first = images[0].header
    sources = _identity(images, reader, predecessor, algorithm)
    report = Comprehensive3DSR(
        evidence=[without_patient(image.header, UIDS) for image in images],
        content=verified_content(images, reader, target, algorithm),
        series_instance_uid=derived_uid("verified series", *sources),
        series_number=_SERIES_NUMBER,
        series_description=f"{target.name.capitalize()} reading (verified)",
        sop_instance_uid=derived_uid("verified report", *sources),
        instance_number=1,
        manufacturer="monai_bone_ssl" if algorithm is None else algorithm.manufacturer,
        manufacturer_model_name=SOFTWARE_NAME,
        software_versions=__version__,
        is_complete=True,  # or it could not be verified (PS3.3 section C.17.2); what was not read, it says
        is_final=True,
        is_verified=True,
        verifying_observer_name=reader.person_name,
        verifying_organization=reader.organization,
        previous_versions=None if predecessor is None else [predecessor],
        content_date=created.date(),
        content_time=created.time(),
        specific_character_set="ISO_IR 192",
        contributing_equipment=None
        if algorithm is None
        else [contributing_equipment(algorithm, "Algorithm whose result was reviewed")],
    )
    n_read = sum(image.verdict is not None for image in images)
    report.CompletionFlagDescription = f"{n_read} of {len(images)} images read"
    report.VerifyingObserverSequence[0].VerificationDateTime = DT(created)
    copy_patient_and_study(report, first)
    set_time(report, created)
    return report


def _check(images: Sequence[ReviewedImage], reader: Reader, predecessor: Dataset | None) -> None:
    reader.require_organization()
    if not any(image.verdict is not None for image in images):
        raise ReportError(ReasonCode.REPORT_FAILED, "no image of the study was read: nothing to report")
    headers = [image.header for image in images]
    for image in images:
        _check_image(image)
    if len({header.SOPInstanceUID for header in headers}) < len(headers):
        text = "two images have one SOP Instance UID, expected each image once"
        raise ReportError(ReasonCode.REPORT_FAILED, text)
    about = headers if predecessor is None else [*headers, predecessor]
    check_one_patient(about, headers[0].StudyInstanceUID)


def _check_image(image: ReviewedImage) -> None:
    uid = image.header.get("SOPInstanceUID")
    if not is_referable(image.header):
        raise ReportError(ReasonCode.MISSING_IDENTIFIER, f"image {uid}: its header cannot be referenced")
    if image.verdict is not None and image.verdict.sop_instance_uid != uid:
        text = f"image {uid}: the verdict is on {image.verdict.sop_instance_uid}, expected one on this image"
        raise ReportError(ReasonCode.REPORT_FAILED, text)


def _identity(
    images: Sequence[ReviewedImage],
    reader: Reader,
    predecessor: Dataset | None,
    algorithm: Algorithm | None,
) -> list[str]:
    """What the report's UIDs depend on: another verdict, or the same given again, is another report."""
    verdicts = sorted(
        f"{image.header.SOPInstanceUID} {msgspec.json.encode(image.verdict).decode()}" for image in images
    )
    reviewed = "" if predecessor is None else str(predecessor.SOPInstanceUID)
    device = "" if algorithm is None else algorithm.fingerprint
    return [reader.name, reader.organization, reviewed, device, __version__, *verdicts]
