"""A process for the analyses: one that takes too long, or takes its process down, leaves the service alone.

Jobs and answers go through a pipe as JSON.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
from collections.abc import Collection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import msgspec

from monai_bone_ssl.errors import BoneSSLError, ReasonCode, ServiceError
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.report.evidence_objects import EvidenceKind
from monai_bone_ssl.service.analysis import Job, JobOutcome, analyse_job
from monai_bone_ssl.service.events import start_logging
from monai_bone_ssl.service.tables import StudyState
from monai_bone_ssl.shown_image import Outputs

__all__ = ["AnalysisProcess"]

# Time, in seconds, in which a process has to load its model.
_START_SECONDS = 300.0
_READY = b"ready"
_PR_SET_PDEATHSIG = 1  # prctl(2): a signal for this process when its parent ends


class _Failure(msgspec.Struct, frozen=True, tag=True):
    """Error of an analysis that did not come to an end."""

    code: ReasonCode
    text: str


class AnalysisProcess:
    """A process that holds the model and analyses one study at a time; started when it is needed.

    Parameters
    ----------
    model
        Model folder.
    evidence
        Kinds of evidence objects to make beside each report; may be empty.
    limit
        Seconds that an analysis may take.
    """

    def __init__(self, model: Path, evidence: Collection[EvidenceKind], limit: float) -> None:
        self._model = model
        self._evidence = evidence
        self._limit = limit
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def analyse(self, job: Job) -> JobOutcome:
        """Analyse a study; an analysis that takes too long is ended with its process.

        Returns
        -------
        Outcome of the analysis; ``failed`` with ``time_limit`` where it took too long.

        Raises
        ------
        ServiceError
            ``ANALYSIS_DIED`` where the process ended in the middle, as when memory ran out; and the code of
            any other error of the analysis.
        """
        pipe = self._started()
        try:
            pipe.send_bytes(msgspec.json.encode(job))
            if not pipe.poll(self._limit):
                self.end()
                return JobOutcome(StudyState.FAILED, ReasonCode.TIME_LIMIT)
            reply = msgspec.json.decode(pipe.recv_bytes(), type=JobOutcome | _Failure)
        except (EOFError, OSError) as error:
            self.end()
            text = f"study {job.study_instance_uid}: the process that analysed it ended in the middle"
            raise ServiceError(ReasonCode.ANALYSIS_DIED, text) from error
        if isinstance(reply, _Failure):
            raise ServiceError(reply.code, reply.text)
        return reply

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._pipe = self._process = None

    def _started(self) -> Connection:
        if self._pipe is not None:
            return self._pipe
        fresh = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
        ours, theirs = fresh.Pipe()
        arguments = theirs, self._model, self._evidence
        self._process = fresh.Process(target=_work, args=arguments, name="analysis", daemon=True)
        self._process.start()
        theirs.close()
        self._pipe = ours
        try:
            if ours.poll(_START_SECONDS) and ours.recv_bytes() == _READY:
                return ours
        except (EOFError, OSError):
            pass
        self.end()
        raise ServiceError(ReasonCode.ANALYSIS_DIED, "the process for analyses cannot be started")


def _work(pipe: Connection, folder: Path, evidence: Collection[EvidenceKind]) -> None:
    """Answer jobs until the service closes its end of the pipe, or ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGTERM, signal.SIGINT):  # the service decides what is finished
        signal.signal(number, signal.SIG_IGN)
    start_logging()
    model, outputs = Model(folder), Outputs(overlay=False, evidence=evidence)
    pipe.send_bytes(_READY)
    while True:
        try:
            job = msgspec.json.decode(pipe.recv_bytes(), type=Job)
        except EOFError:
            return
        pipe.send_bytes(msgspec.json.encode(_reply(job, model, outputs)))


def _reply(job: Job, model: Model, outputs: Outputs) -> JobOutcome | _Failure:
    try:
        return analyse_job(job, model, outputs)
    except BoneSSLError as error:
        return _Failure(error.code, error.text)
