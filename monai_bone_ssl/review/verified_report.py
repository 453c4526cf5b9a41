"""A reader's verdicts as verified Comprehensive 3D SRs, one a study, that refer to the algorithm's reports.

Content tree: :mod:`monai_bone_ssl.review.verified_content`. Patient and study are the source's. UIDs depend
on nothing but the images, the verdicts, the reader and the algorithm: writing again makes the same report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from highdicom.sr import Comprehensive3DSR
from pydicom import Dataset
from pydicom.valuerep import DT

from monai_bone_ssl import __version__
from monai_bone_ssl.analysis import tagged_anatomy
from monai_bone_ssl.dicom.patient import check_one_patient
from monai_bone_ssl.dicom.radiograph import anatomy, laterality, read_header
from monai_bone_ssl.dicom.uids import derived_uid
from monai_bone_ssl.errors import BoneSSLError, ConfigError, ReasonCode, ReportError
from monai_bone_ssl.findings import CodedConcept, Target
from monai_bone_ssl.model.folder import ModelFolder, read_model_folder
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.pipeline import algorithm
from monai_bone_ssl.report.content import LAYOUT, Algorithm
from monai_bone_ssl.report.derived_object import (
    UIDS,
    contributing_equipment,
    copy_patient_and_study,
    set_time,
    without_patient,
    write_object,
)
from monai_bone_ssl.report.study import is_referable
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.verified_content import ReviewedImage, verified_content
from monai_bone_ssl.review.worklist import Case, Worklist, case_header
from monai_bone_ssl.show.results import SOFTWARE_NAME, ModelIdentity, read_results

__all__ = ["SessionReports", "verified_report", "write_session_reports"]

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
        The person who gave the verdicts, with an organization.
    predecessor
        The algorithm's report on the study; None where there is none.
    target
        Condition that the images were read for.
    algorithm
        The algorithm whose result the reader reviewed; None where there was none.
    created
        Time at which the report is verified. UIDs do not depend on it.

    Returns
    -------
    highdicom.sr.Comprehensive3DSR
        The report, not written yet.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the reader has no organization, which DICOM asks for.
    ReportError
        ``CONFLICTING_PATIENT`` where the headers, or the predecessor, name another patient;
        ``REPORT_FAILED`` where they are of another study, no image was read, a verdict belongs to another
        image or a marked place is outside its image; ``MISSING_IDENTIFIER`` where an image cannot be
        referenced.
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
        is_complete=True,  # a partial report cannot be verified (PS3.3 section C.17.2)
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
    """Parts of the report's UIDs: another verdict, or the same given again, makes another report."""
    verdicts = sorted(
        f"{image.header.SOPInstanceUID} {msgspec.json.encode(image.verdict).decode()}" for image in images
    )
    reviewed = "" if predecessor is None else str(predecessor.SOPInstanceUID)
    device = "" if algorithm is None else algorithm.fingerprint
    return [reader.name, reader.organization, reviewed, device, __version__, LAYOUT, *verdicts]


# --- all studies of a review ------------------------------------------------------------------------------


@dataclass(frozen=True)
class SessionReports:
    """Studies of a review, by what became of their verified reports."""

    written: tuple[Path, ...]
    """Files of the reports."""
    unread: tuple[str, ...]
    """Study Instance UIDs of studies with an image that the reader can read and has not read."""
    refused: Mapping[str, BoneSSLError]
    """Reason why a study that is read has no report, by Study Instance UID."""


def write_session_reports(
    session: ReviewSession,
    worklist: Worklist,
    out: Path,
    model_folder: Path | None,
    results: Path | None = None,
) -> SessionReports:
    """Write ``SR_verified_<UID>.dcm`` for each study whose every readable image has a verdict.

    Parameters
    ----------
    session
        The reader's review.
    worklist
        Images of the review.
    out
        Folder for the reports; made where missing.
    model_folder
        Model whose results the reader saw; None where there was none.
    results
        Output folder of ``analyze`` with the algorithm's reports, for the verified reports to refer to; None
        where there are none.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the reader has no organization, the target is not known, or the model is not
        the review's; ``INVALID_DATA`` where result.json is damaged.
    ModelError
        Where the model folder cannot be read.
    ReportError
        ``WRITE_FAILED``.
    """
    model = None if model_folder is None else _same_model(model_folder, worklist)
    target = worklist.target or (None if model is None else model.spec.target)
    if target is None:
        text = "the review does not say what was looked for: expected a worklist with a model's target"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    session.reader.require_organization()
    reports = {} if results is None else _algorithm_reports(results)
    written, unread, refused = [], [], {}
    for study, cases in _by_study(worklist).items():
        try:
            images = _images(cases, session, None if model is None else model.spec)
            if images is None:
                unread.append(study)
                continue
            report = verified_report(
                images,
                session.reader,
                read_header(reports[study]) if study in reports else None,
                target,
                None if model is None else algorithm(model),
                datetime.now(),
            )
        except BoneSSLError as error:
            refused[study] = error
            continue
        written.append(write_object(report, "SR_verified", out))
        session.reported(case.key for case in cases if case.key in session.verdicts)
    return SessionReports(tuple(written), tuple(unread), refused)


def _same_model(folder: Path, worklist: Worklist) -> ModelFolder:
    model = read_model_folder(folder)
    if worklist.model is not None and worklist.model != ModelIdentity.of(model.spec):
        expected = f"{worklist.model.name} {worklist.model.version}"
        text = f"{folder}: is not the model of the review, expected {expected}"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    return model


def _algorithm_reports(results: Path) -> dict[str, Path]:
    """Files of the algorithm's reports, by Study Instance UID."""
    studies = read_results(results / "result.json").studies
    return {s.study_instance_uid: results / s.sr_path for s in studies if s.sr_path is not None}


def _by_study(worklist: Worklist) -> dict[str, list[Case]]:
    studies: dict[str, list[Case]] = defaultdict(list)
    for case in worklist.cases:
        if case.study_instance_uid is not None:
            studies[case.study_instance_uid].append(case)
    return studies


def _images(
    cases: Sequence[Case], session: ReviewSession, spec: ModelSpec | None
) -> list[ReviewedImage] | None:
    """Images of a study with their verdicts; None where the reader has not read all that can be read.

    Raises
    ------
    BoneSSLError
        Where an image that was read cannot be opened any more.
    """
    images = []
    for case in cases:
        verdict = session.verdicts.get(case.key)
        try:
            header = case_header(case)
        except BoneSSLError:
            if verdict is None:  # an image that cannot be opened is none that the reader has left out
                continue
            raise
        if verdict is None:
            return None
        region = _anatomy(header, case, spec)
        images.append(ReviewedImage(header, verdict, region, laterality(header)))
    return images or None


def _anatomy(header: Dataset, case: Case, spec: ModelSpec | None) -> CodedConcept | None:
    """Region as in the algorithm's report: what the image shows, where the header says too little."""
    tagged = tagged_anatomy(anatomy(header))
    seen = None if case.finding is None else case.finding.body_part
    if spec is None or seen is None or (tagged is not None and seen.source == "dicom"):
        return tagged
    part = spec.body_part(seen.value)
    return tagged if part is None else part.concept
