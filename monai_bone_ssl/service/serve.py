"""The service as a whole: its parts, its threads, its start and its stop."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread, Timer

from monai_bone_ssl.errors import BoneSSLError, ConfigError, ReasonCode
from monai_bone_ssl.files import writing
from monai_bone_ssl.model.folder import default_model_folder, read_model_folder
from monai_bone_ssl.service.analysis_process import AnalysisProcess
from monai_bone_ssl.service.backoff import Backoff
from monai_bone_ssl.service.cleaning import clean
from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.delivery import Sender
from monai_bone_ssl.service.dicomweb import DicomWeb, Poller, StowSender
from monai_bone_ssl.service.dimse import CStoreSender
from monai_bone_ssl.service.events import log_event, start_logging
from monai_bone_ssl.service.fetches import Fetches
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.receiver import Receiver
from monai_bone_ssl.service.settings import ReportRoute, Settings, ledger_url
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.status import ServiceMetrics, StatusServer
from monai_bone_ssl.service.worker import Analyst, Courier

__all__ = ["serve"]

# Pause, in seconds, of a step that had nothing to do.
_IDLE_SECONDS = 0.5
# Pause between two rounds of cleaning, in seconds.
_CLEANING_SECONDS = 3600.0
# Time that a step may stand still, in time limits of an analysis.
_STILL = 2.0
# Longest pause, in seconds, before a study that could not be fetched is tried again.
_LONGEST_FETCH_PAUSE = 3600.0
# Time beyond stop_seconds, in seconds, after which a process that is to stop is ended.
_HANGING_SECONDS = 5.0


def serve(settings: Settings) -> bool:
    """Run until SIGTERM or SIGINT.

    Returns
    -------
    False where a programming error ended the service; the error was logged.

    Raises
    ------
    ConfigError
        Where an address, a certificate or a name is not usable.
    ModelError
        Where the model cannot be trusted.
    ReportError, ServiceError
        Where the spool or the ledger cannot be used at the start.
    """
    start_logging()
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(stopping, settings.stop_seconds + _HANGING_SECONDS))
    with _only_replica(settings):
        return _Service(settings, stopping).run()


def _stop(stopping: Event, seconds: float) -> None:
    """Begin to stop; what hangs for longer is left to the next start, as after a power cut."""
    stopping.set()
    timer = Timer(seconds, _end)
    timer.daemon = True
    timer.start()


def _end() -> None:
    log_event("stop_forced", level=logging.CRITICAL)
    os._exit(1)


class _Service:
    def __init__(self, settings: Settings, stopping: Event) -> None:
        self._settings = settings
        self._stopping = stopping
        folder = settings.model or default_model_folder()
        self._model = read_model_folder(folder).spec.name
        # One process reads a study or writes a report while the network works for the other.
        self._analyses = [
            AnalysisProcess(folder, settings.evidence, settings.analysis_limit_seconds) for _ in range(2)
        ]
        self._spool = Spool(settings.spool, settings.reserve_mb << 20)
        self._database = Database(ledger_url(settings))
        self._ledger = Ledger(self._database, settings.replica, settings.lease_seconds)
        self._fetches = Fetches(self._database)
        self._metrics = ServiceMetrics()
        self._intake = Intake(self._spool, self._ledger)
        self._web = None if settings.dicomweb is None else DicomWeb(settings.dicomweb)
        self._backoff = Backoff(settings.retry_seconds, settings.retry_limit_seconds)
        self._started = self._next_cleaning = time.monotonic()
        self._has_fault = False
        self._beats: dict[str, float] = {}
        self._threads = [self._thread(name, step) for name, step in self._steps().items()]

    def run(self) -> bool:
        self._ledger.desert()  # what this replica had begun before it went down
        self._started = time.monotonic()
        receiver = None
        if self._settings.receiver is not None:
            receiver = Receiver(self._settings.receiver, self._spool, self._intake, self._metrics)
        # The status comes after the receiver: whoever reads that the service is ready may send.
        status = StatusServer(self._settings.status, self._ledger, self._spool, self._metrics, self._is_live)
        log_event("started", replica=self._settings.replica, model=self._model)
        for thread in self._threads:
            thread.start()
        self._stopping.wait()
        log_event("stopping")
        deadline = time.monotonic() + self._settings.stop_seconds
        if receiver is not None:
            receiver.stop(self._settings.stop_seconds)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for process in self._analyses:
            process.end()
        status.stop()
        self._hand_back()
        return not self._has_fault

    def _hand_back(self) -> None:
        """Give up what still runs: the next start, or another replica, does it again."""
        try:
            self._ledger.desert()
        except BoneSSLError as error:
            log_event("not_handed_back", level=logging.WARNING, reason=error.code)
        self._database.close()
        log_event("stopped")

    def _steps(self) -> dict[str, Callable[[], bool]]:
        parts = self._spool, self._ledger, self._metrics, self._backoff
        first, second = (
            Analyst(process.analyse, untried_only, *parts)
            for process, untried_only in zip(self._analyses, (False, True), strict=True)
        )
        courier = Courier(self._sender(), self._web if self._settings.confirm else None, *parts)
        steps = {
            "analyse": first.run_once,
            "analyse_beside": second.run_once,
            "send": courier.run_once,
            "keep": self._keep_house,
        }
        if self._web is not None and self._settings.poll is not None:
            poll = self._settings.poll
            patience = Backoff(poll.every_seconds, _LONGEST_FETCH_PAUSE)
            poller = Poller(
                self._web, self._intake, self._ledger, self._fetches, poll, self._metrics, patience
            )
            steps["fetch"] = poller.run_once
        return steps

    def _sender(self) -> Sender:
        if self._settings.send is ReportRoute.STOW_RS and self._web is not None:
            return StowSender(self._web)
        if self._settings.pacs is None:
            raise AssertionError("load_settings lets no route without its target pass")
        return CStoreSender(self._settings.pacs)

    # --- steps that are not about one study ---------------------------------------------------------------

    def _keep_house(self) -> bool:
        now = time.monotonic()
        self._ledger.renew_leases()
        self._ledger.forgive_clock(self._settings.retry_limit_seconds)
        quiet = self._settings.quiet_seconds
        # After a start, senders get the quiet period once more: they could not send while we were down.
        if now - self._started >= quiet:
            self._ledger.complete_quiet_studies(quiet)
        if now >= self._next_cleaning:
            settings = self._settings
            clean(self._spool, self._ledger, self._fetches, settings.keep_days, settings.keep_study_days)
            self._next_cleaning = now + _CLEANING_SECONDS
        return False

    # --- threads ------------------------------------------------------------------------------------------

    def _thread(self, name: str, step: Callable[[], bool]) -> Thread:
        return Thread(target=self._repeat, args=(name, step), name=name, daemon=True)

    def _repeat(self, name: str, step: Callable[[], bool]) -> None:
        """Do a step again and again; what cannot be done now may be possible later."""
        failures = 0
        has_ended_well = False
        try:
            while not self._stopping.is_set():
                self._beats[name] = time.monotonic()
                try:
                    pause = 0.0 if step() else _IDLE_SECONDS
                    failures = 0
                except BoneSSLError as error:
                    failures += 1
                    pause = self._backoff.seconds(failures)
                    self._metrics.error(name, error.code)
                    log_event("step_failed", level=logging.ERROR, stage=name, reason=error.code)
                self._stopping.wait(pause)
            has_ended_well = True
        finally:  # after a programming error nothing is certain: the process ends, to be started afresh
            self._has_fault = self._has_fault or not has_ended_well
            self._stopping.set()

    def _is_live(self) -> bool:
        """Whether every thread runs, and none has stood still for longer than any step may take."""
        longest = _STILL * self._settings.analysis_limit_seconds
        is_moving = all(time.monotonic() - beat < longest for beat in self._beats.values())
        return is_moving and all(thread.is_alive() for thread in self._threads)


@contextmanager
def _only_replica(settings: Settings) -> Iterator[None]:
    """Hold the replica's name: two processes of one name would take each other's work for their own."""
    path = settings.spool / f".{settings.replica}.lock"
    with writing(path):
        settings.spool.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, settings)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, settings: Settings) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        text = f"{settings.spool}: a service named {settings.replica!r} runs on it already"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
