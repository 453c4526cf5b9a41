"""Verified reports of a whole review: one a study, of those studies that are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import Dataset

from monai_bone_ssl.analysis import tagged_anatomy
from monai_bone_ssl.dicom.radiograph import anatomy, laterality, read_header
from monai_bone_ssl.errors import BoneSSLError, ConfigError, ReasonCode
from monai_bone_ssl.findings import CodedConcept
from monai_bone_ssl.model.folder import ModelFolder, read_model_folder
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.pipeline import algorithm
from monai_bone_ssl.report.derived_object import write_object
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.verified_content import ReviewedImage
from monai_bone_ssl.review.verified_report import verified_report
from monai_bone_ssl.review.worklist import Case, Worklist, case_header
from monai_bone_ssl.show.results import ModelIdentity, read_results

__all__ = ["SessionReports", "write_session_reports"]


@dataclass(frozen=True)
class SessionReports:
    """What became of a review's studies."""

    written: tuple[Path, ...]
    unread: tuple[str, ...]
    """Study Instance UIDs of studies with an image that can be read and was not."""
    refused: Mapping[str, BoneSSLError]
    """Why a study that is read has no report."""


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
        Its images.
    out
        Folder for the reports; made where missing.
    model_folder
        The model whose results the reader saw; None where there was none.
    results
        The ``analyze`` output folder with the algorithm's reports, which the verified ones then refer to.

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
    """The algorithm's report of each study that has one."""
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
    """The study's images; None where one that can be read was not.

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
            if verdict is None:  # nobody can read it
                continue
            raise
        if verdict is None:
            return None
        region = _anatomy(header, case, spec)
        images.append(ReviewedImage(header, verdict, region, laterality(header)))
    return images or None


def _anatomy(header: Dataset, case: Case, spec: ModelSpec | None) -> CodedConcept | None:
    """As in the algorithm's report: the header's, and where that says too little, what the image shows."""
    tagged = tagged_anatomy(anatomy(header))
    seen = None if case.finding is None else case.finding.body_part
    if spec is None or seen is None or (tagged is not None and seen.source == "dicom"):
        return tagged
    part = spec.body_part(seen.value)
    return tagged if part is None else part.concept
