"""The analysis of one study: from files in the spool to the files to send, as words that a pipe can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from monai_bone_ssl.dicom.collect import Source, Study, group_by_study
from monai_bone_ssl.errors import CorruptImage, ReasonCode, ServiceError
from monai_bone_ssl.findings import Refused, Status
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import StudyOutcome, analyse_study
from monai_bone_ssl.report.study import History
from monai_bone_ssl.service.tables import StudyState
from monai_bone_ssl.shown_image import Outputs

__all__ = ["Job", "JobOutcome", "analyse_job"]


class Job(msgspec.Struct, frozen=True):
    """A study to analyse."""

    study_instance_uid: str
    images: Sequence[str]
    """Paths of the files with the study's images."""
    missing: Mapping[str, ReasonCode]
    """Reasons for which images of the study could not be had, by SOP Instance UID."""
    folder: str
    """Path of an existing folder for the report and what is sent beside it."""
    history: History = History()
    """Reports on the study that the archive was given before."""


class JobOutcome(msgspec.Struct, frozen=True, tag=True):
    """Outcome of a study's analysis."""

    state: StudyState
    """State that the study goes to."""
    reason: ReasonCode | None = None
    """Reason of an end without a report."""
    files: Sequence[str] = ()
    """Names of the files to send, the report's first."""
    left_out: Sequence[ReasonCode] = ()
    """Reasons for which evidence objects that were asked for are not there."""


def analyse_job(job: Job, model: Model, outputs: Outputs) -> JobOutcome:
    """Analyse a study and write what is to be sent.

    Raises
    ------
    BoneSSLError
        Where the analysis cannot be brought to an end, as on a full disk.
    """
    outcome = analyse_study(_study(job), Path(job.folder), model, outputs, job.history)
    study = outcome.study
    if study is None or study.sr_path is None or study.decision is None:
        return _without_report(outcome)
    left_out = [error.code for error in outcome.left_out]
    return JobOutcome(StudyState.TO_SEND, None, [study.sr_path, *outcome.evidence_files], left_out)


def _study(job: Job) -> Study:
    """Gather the images of a study as they were received, also those that cannot be read."""
    study = Study(job.study_instance_uid)
    for part in group_by_study(Source(Path(path)) for path in job.images):
        if part.study_instance_uid not in (None, job.study_instance_uid):
            text = f"study {job.study_instance_uid}: the spool holds an image of another study for it"
            raise ServiceError(ReasonCode.CONFLICTING_INSTANCE, text)
        study.sources += part.sources
        study.unread_files += part.unread_files
    for uid, reason in job.missing.items():
        error = CorruptImage(reason, "the archive lists this image, but it could not be had")
        study.sources.append(Source(Path(uid), uid, job.study_instance_uid, error))
    return study


def _without_report(outcome: StudyOutcome) -> JobOutcome:
    refused = [entry.finding for entry in outcome.entries if isinstance(entry.finding, Refused)]
    failures = [finding.reason.code for finding in refused if finding.status is Status.FAILED]
    if failures:
        return JobOutcome(StudyState.FAILED, failures[0])
    return JobOutcome(StudyState.NOTHING_ELIGIBLE, refused[0].reason.code)
