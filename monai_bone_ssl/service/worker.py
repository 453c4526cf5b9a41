"""The two steps of a study: analysis and delivery, each of one study at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import ClassVar

from pydicom import Dataset, dcmread

from monai_bone_ssl.errors import BoneSSLError, ReasonCode, ReportError, ServiceError
from monai_bone_ssl.report.study import EarlierReport
from monai_bone_ssl.service.analysis import Job, JobOutcome
from monai_bone_ssl.service.backoff import Backoff
from monai_bone_ssl.service.delivery import Archive, Sender
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.status import ServiceMetrics
from monai_bone_ssl.service.tables import Claim, StudyState

__all__ = ["Analyst", "Courier"]

# Analyses in a row without an outcome, after which a study is given up: pauses grow from one to the next, so
# that by then it is the study that ends the process.
_MOST_ANALYSES = 20
# State in which a study waits for a step to be tried again, by its state in the step.
_STEPS = {StudyState.ANALYSING: StudyState.COMPLETE, StudyState.TO_SEND: StudyState.TO_SEND}


class _Worker:
    """Base of both steps, with the parts of the service and the way back for a study whose step fails.

    Parameters
    ----------
    spool, ledger, metrics, backoff
        Parts of the service that the step works with.
    """

    stage: ClassVar[str]
    """Name of the step in metrics."""
    setback: ClassVar[str]
    """Name of the event that tells of a failure."""

    def __init__(self, spool: Spool, ledger: Ledger, metrics: ServiceMetrics, backoff: Backoff) -> None:
        self._spool = spool
        self._ledger = ledger
        self._metrics = metrics
        self._backoff = backoff

    @contextmanager
    def _attempt(self, claim: Claim) -> Iterator[None]:
        """Count and time the work on a study; put the study back where the work fails."""
        started = time.perf_counter()
        try:
            yield
        except BoneSSLError as error:
            self._put_back(claim, error)
            return
        self._metrics.success(self.stage)
        self._metrics.observe(self.stage, time.perf_counter() - started)

    def _put_back(self, claim: Claim, error: BoneSSLError) -> None:
        self._metrics.error(self.stage, error.code)
        pause = self._backoff.seconds(claim.attempts)
        # A file to send that is damaged has to be made again.
        step = StudyState.COMPLETE if error.code is ReasonCode.REPORT_FAILED else _STEPS[claim.state]
        self._ledger.retry(claim, step, pause, error.code)
        log_event(
            self.setback,
            level=logging.WARNING,
            study=claim.study_instance_uid,
            reason=error.code,
            attempt=claim.attempts,
            next_in_seconds=round(pause, 1),
        )


class Analyst(_Worker):
    """Has complete studies analysed.

    Parameters
    ----------
    analyse
        Analysis of one study, see :meth:`monai_bone_ssl.service.analysis_process.AnalysisProcess.analyse`.
    untried_only
        Whether to leave studies whose analysis was begun before. Of analysts that work side by side, all but
        one do: a study that takes the process down then takes no other with it more than once.
    spool, ledger, metrics, backoff
        Parts of the service, as in every step.
    """

    stage = "analyse"
    setback = "analysis_failed"

    def __init__(
        self,
        analyse: Callable[[Job], JobOutcome],
        untried_only: bool,
        spool: Spool,
        ledger: Ledger,
        metrics: ServiceMetrics,
        backoff: Backoff,
    ) -> None:
        super().__init__(spool, ledger, metrics, backoff)
        self._analyse = analyse
        self._untried_only = untried_only

    def run_once(self) -> bool:
        """Have one study analysed, if one waits; False where none did.

        Raises
        ------
        ServiceError
            ``LEDGER_UNAVAILABLE``; the study is taken up again when its lease ends.
        """
        claim = self._ledger.claim_analysis(pause=self._backoff.seconds, untried_only=self._untried_only)
        if claim is None:
            return False
        if claim.attempts > _MOST_ANALYSES:
            self._end(claim, StudyState.FAILED, ReasonCode.ANALYSIS_ABANDONED)
            return True
        with self._attempt(claim):
            folder = self._spool.report_folder(claim.study_instance_uid, claim.revision)
            answer = self._analyse(self._job(claim, folder))
            if answer.reason is not None:
                self._end(claim, answer.state, answer.reason)
            else:
                self._hand_on(claim, folder, answer)
        return True

    def _job(self, claim: Claim, folder: Path) -> Job:
        missing = self._ledger.missing_images(claim.study_instance_uid)
        return Job(
            study_instance_uid=claim.study_instance_uid,
            images=[str(self._spool.image(name)) for name in self._ledger.image_names(claim)],
            missing={uid: ReasonCode(reason) for uid, reason in missing.items()},
            folder=str(folder),
            history=self._ledger.history(claim),
        )

    def _hand_on(self, claim: Claim, folder: Path, answer: JobOutcome) -> None:
        """Move a study with a report on to be sent."""
        self._spool.flush_report(folder)
        outbox = self._spool.seal(folder, answer.files)
        if self._ledger.finish(claim, answer.state, outbox=outbox):
            log_event("analysed", study=claim.study_instance_uid, objects=len(outbox))
            for reason in answer.left_out:
                log_event("evidence_left_out", study=claim.study_instance_uid, reason=reason)

    def _end(self, claim: Claim, state: StudyState, reason: ReasonCode) -> None:
        if self._ledger.finish(claim, state, reason=reason):
            log_event(state, study=claim.study_instance_uid, reason=reason)


class Courier(_Worker):
    """Sends reports, and the evidence beside them, until the archive has them.

    Parameters
    ----------
    sender
        The way to the archive.
    archive
        Archive that is asked whether it has what was sent; None where there is none to ask.
    spool, ledger, metrics, backoff
        Parts of the service, as in every step.
    """

    stage = "send"
    setback = "not_sent"

    def __init__(
        self,
        sender: Sender,
        archive: Archive | None,
        spool: Spool,
        ledger: Ledger,
        metrics: ServiceMetrics,
        backoff: Backoff,
    ) -> None:
        super().__init__(spool, ledger, metrics, backoff)
        self._sender = sender
        self._archive = archive

    def run_once(self) -> bool:
        """Send the results of one study, if some wait; False where none did.

        Raises
        ------
        ServiceError
            ``LEDGER_UNAVAILABLE``; the report is sent again when its lease ends, to no effect.
        """
        claim = self._ledger.claim_delivery()
        if claim is None:
            return False
        started = time.perf_counter()
        with self._attempt(claim):
            objects = self._objects(claim)
            self._deliver(claim, objects)
            self._ledger.note_report(claim, _report(objects[0]))
            if self._ledger.finish(claim, StudyState.SENT, outbox=claim.outbox):
                self._metrics.observe("total", claim.age + time.perf_counter() - started)
                log_event("sent", study=claim.study_instance_uid, objects=len(objects))
        return True

    def _deliver(self, claim: Claim, objects: Sequence[Dataset]) -> None:
        """Send objects; on return the archive has said that it has them, as far as it can be asked."""
        if self._archive is None:
            self._sender.send(objects)
            return
        if claim.attempts > 1 and self._archive.holds(objects):  # of an attempt before
            return
        self._sender.send(objects)
        if not self._archive.holds(objects):
            text = f"study {claim.study_instance_uid}: the archive took the report but does not list it"
            raise ServiceError(ReasonCode.NOT_IN_ARCHIVE, text)

    def _put_back(self, claim: Claim, error: BoneSSLError) -> None:
        if error.code is not ReasonCode.REPORT_REFUSED:
            super()._put_back(claim, error)
            return
        self._metrics.error(self.stage, error.code)
        if self._ledger.finish(claim, StudyState.FAILED, reason=error.code, outbox=claim.outbox):
            log_event("failed", level=logging.WARNING, study=claim.study_instance_uid, reason=error.code)

    def _objects(self, claim: Claim) -> list[Dataset]:
        """Read the files to send."""
        folder = self._spool.report_folder(claim.study_instance_uid, claim.revision)
        contents = self._spool.sealed(folder, claim.outbox)
        if contents is None:
            text = f"study {claim.study_instance_uid}: a file to send is gone from the spool, or damaged"
            raise ReportError(ReasonCode.REPORT_FAILED, text)
        return [dcmread(BytesIO(content)) for content in contents]


def _report(sent: Dataset) -> EarlierReport:
    """What a later report needs to name one that was sent."""
    images = [
        str(instance.ReferencedSOPInstanceUID)
        for study in sent.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]
    return EarlierReport(str(sent.SOPInstanceUID), str(sent.SeriesInstanceUID), images)
