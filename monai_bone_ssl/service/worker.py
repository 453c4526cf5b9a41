"""The two steps of a study's way: analysis and delivery, one study at a time each."""

from __future__ import annotations

import logging
import random
import time
from pathlib import Path

from monai_bone_ssl.collect import Source, Study, group_by_study
from monai_bone_ssl.errors import BoneSSLError, ReasonCode, ReportError, ServiceError
from monai_bone_ssl.findings import Status
from monai_bone_ssl.model import Model
from monai_bone_ssl.pipeline import StudyOutcome, analyse_study
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.ledger import Claim, Ledger, StudyState
from monai_bone_ssl.service.metrics import Metrics
from monai_bone_ssl.service.sender import Sender
from monai_bone_ssl.service.spool import Spool

__all__ = ["Analyst", "Backoff", "Courier"]

_MOST_ANALYSES = 5
"""In a row without an outcome; a study that takes the process down with it would do so for ever."""


class Backoff:
    """Pauses that double, each shortened by chance so that not all studies come back at once.

    Parameters
    ----------
    first, longest
        Seconds.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest

    def seconds(self, attempts: int) -> float:
        """Pause after so many attempts, 1 or more."""
        # 2 ** 60 seconds is long enough, and still a number that a float holds.
        pause = min(self._longest, self._first * 2.0 ** min(attempts - 1, 60))
        return pause * random.uniform(0.5, 1)  # noqa: S311 - nothing secret


class Analyst:
    """Runs the pipeline on complete studies.

    Parameters
    ----------
    model
        Loaded once.
    spool, ledger, metrics, backoff
        What it works with.
    """

    def __init__(
        self, model: Model, spool: Spool, ledger: Ledger, metrics: Metrics, backoff: Backoff
    ) -> None:
        self._model = model
        self._spool = spool
        self._ledger = ledger
        self._metrics = metrics
        self._backoff = backoff

    def run_once(self) -> bool:
        """Analyse one study, if one waits. Returns whether there was one.

        Raises
        ------
        ServiceError
            ``LEDGER_UNAVAILABLE``; the study is taken up again when its lease ends.
        """
        claim = self._ledger.claim_analysis(time.time())
        if claim is None:
            return False
        if claim.attempts > _MOST_ANALYSES:
            self._end(claim, StudyState.FAILED, ReasonCode.ANALYSIS_ABANDONED)
            return True
        started = time.perf_counter()
        try:
            outcome, report = self._analyse(claim)
        except (ReportError, ServiceError) as error:
            self._metrics.error("analyse", error.code)
            self._ledger.retry(claim, time.time() + self._backoff.seconds(claim.attempts), error.code)
            log_event(
                "analysis_failed",
                level=logging.WARNING,
                study=claim.study_instance_uid,
                reason=error.code,
                attempt=claim.attempts,
            )
            return True
        self._metrics.success("analyse")
        self._metrics.observe("analyse", time.perf_counter() - started)
        if report is None:
            state, reason = _without_report(outcome)
            self._end(claim, state, reason)
        elif self._ledger.finish(claim, StudyState.TO_SEND, time.time(), report=report.name):
            log_event("analysed", study=claim.study_instance_uid, images=len(outcome.entries))
        return True

    def _analyse(self, claim: Claim) -> tuple[StudyOutcome, Path | None]:
        """The pipeline's outcome, and the report where there is something to report."""
        study = self._study(claim)
        folder = self._spool.report_folder(claim.study_instance_uid, claim.revision)
        outcome = analyse_study(study, folder, self._model, overlays=False)
        conclusion = outcome.study
        if conclusion is None or conclusion.sr_path is None or conclusion.decision is None:
            return outcome, None
        self._spool.flush_report(folder)
        return outcome, folder / conclusion.sr_path

    def _study(self, claim: Claim) -> Study:
        """All images of the study, each as it was received; one that cannot be read is part of it too."""
        names = self._ledger.image_names(claim)
        study = Study(claim.study_instance_uid)
        for part in group_by_study(Source(self._spool.image(name)) for name in names):
            if part.study_instance_uid not in (None, claim.study_instance_uid):
                text = f"study {claim.study_instance_uid}: the spool holds an image of another study for it"
                raise ServiceError(ReasonCode.CONFLICTING_INSTANCE, text)
            study.sources += part.sources
        return study

    def _end(self, claim: Claim, state: StudyState, reason: ReasonCode) -> None:
        if self._ledger.finish(claim, state, time.time(), reason=reason):
            log_event(state, study=claim.study_instance_uid, reason=reason)


def _without_report(outcome: StudyOutcome) -> tuple[StudyState, ReasonCode]:
    """How a study ends of which there is nothing to report."""
    reasons = [(e.finding.status, e.finding.reason.code) for e in outcome.entries if e.finding.reason]
    failures = [code for status, code in reasons if status is Status.FAILED]
    if failures:
        return StudyState.FAILED, failures[0]
    return StudyState.NOTHING_ELIGIBLE, reasons[0][1]


class Courier:
    """Sends reports until they arrive.

    Parameters
    ----------
    sender
        The way to the PACS.
    spool, ledger, metrics, backoff
        What it works with.
    """

    def __init__(
        self, sender: Sender, spool: Spool, ledger: Ledger, metrics: Metrics, backoff: Backoff
    ) -> None:
        self._sender = sender
        self._spool = spool
        self._ledger = ledger
        self._metrics = metrics
        self._backoff = backoff

    def run_once(self) -> bool:
        """Send one report, if one waits. Returns whether there was one.

        Raises
        ------
        ServiceError
            ``LEDGER_UNAVAILABLE``; the report is sent again when its lease ends, to no effect.
        """
        claim = self._ledger.claim_delivery(time.time())
        if claim is None:
            return False
        started = time.perf_counter()
        try:
            self._sender.send(self._report(claim))
        except BoneSSLError as error:
            self._put_back(claim, error)
            return True
        self._metrics.success("send")
        self._metrics.observe("send", time.perf_counter() - started)
        if self._ledger.finish(claim, StudyState.SENT, time.time(), report=claim.report):
            self._metrics.observe("total", time.time() - claim.since)
            log_event("sent", study=claim.study_instance_uid)
        return True

    def _report(self, claim: Claim) -> Path:
        if claim.report is None:
            text = f"study {claim.study_instance_uid}: the ledger names no report"
            raise ServiceError(ReasonCode.REPORT_FAILED, text)
        return self._spool.report_folder(claim.study_instance_uid, claim.revision) / claim.report

    def _put_back(self, claim: Claim, error: BoneSSLError) -> None:
        self._metrics.error("send", error.code)
        pause = self._backoff.seconds(claim.attempts)
        self._ledger.retry(claim, time.time() + pause, error.code)
        log_event(
            "not_sent",
            level=logging.WARNING,
            study=claim.study_instance_uid,
            reason=error.code,
            attempt=claim.attempts,
            next_in_seconds=round(pause, 1),
        )
