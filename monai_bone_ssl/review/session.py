"""One reader's review, kept in a folder that several readers share.

A verdict is on the disk when :meth:`ReviewSession.save` returns. No file is written by two readers, and no
file that cannot be read is overwritten. What the files hold: :mod:`monai_bone_ssl.review.session_files`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import msgspec

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.review.lock import ReaderLock
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session_files import Event, Journal, Terms, join
from monai_bone_ssl.review.verdict import Location, Reading, Verdict, agreement
from monai_bone_ssl.review.worklist import Case, Worklist
from monai_bone_ssl.show.results import ModelIdentity

__all__ = ["ReviewSession"]


class ReviewSession:
    """One reader's review: made by :meth:`open`, ended by :meth:`close` or as a context manager.

    Every method that notes something raises ``ConfigError`` (``INVALID_CONFIG``) where another process has
    taken the review over, and ``ReportError`` (``WRITE_FAILED``) where the folder cannot be written. Nothing
    is noted then, and the former verdicts are untouched.
    """

    def __init__(
        self,
        folder: Path,
        reader: Reader,
        model: ModelIdentity | None,
        blinded: bool,
        journal: Journal,
        lock: ReaderLock,
    ) -> None:
        self.folder = folder
        self.reader = reader
        self.blinded = blinded
        #: Whether the process that read before ended while it was saving: what it was saving is lost.
        self.recovered = journal.cut_short
        self._model = model
        self._journal = journal
        self._lock = lock

    @classmethod
    def open(cls, folder: Path, reader: Reader, worklist: Worklist, blinded: bool = False) -> Self:
        """Begin a review, or resume one.

        Parameters
        ----------
        folder
            Folder of the review, made where missing. Other readers' reviews of the same images may be in it.
        reader
            The person who reads. Only one process at a time may write as a reader.
        worklist
            The images to read.
        blinded
            Whether to hide what the algorithm says of an image until the reader has read it.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG`` where the folder's review is of another model or blinded otherwise, or another
            process writes as this reader; ``INVALID_DATA`` where a file in it is damaged.
        ReportError
            ``WRITE_FAILED`` where the folder cannot be written.
        """
        join(folder, Terms(blinded=blinded, model=worklist.model, target=worklist.target))
        with ExitStack() as on_error:
            lock = ReaderLock.acquire(folder / f"{reader.file_name}.lock", reader.name)
            on_error.callback(lock.release)
            session = cls(folder, reader, worklist.model, blinded, Journal.begin(folder, reader), lock)
            if session.recovered:
                session._note("recovered", session.position or "")
            on_error.pop_all()
        return session

    def close(self) -> None:
        """End the review; it can be resumed. The reader is free even where the end cannot be noted."""
        try:
            if self._lock.is_held:
                self._note("closed")
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        """The reader's verdicts by key of the case."""
        return MappingProxyType(self._journal.verdicts)

    @property
    def position(self) -> str | None:
        """Key of the case shown last; None at the beginning."""
        return self._journal.position

    def progress(self, worklist: Worklist) -> tuple[int, int]:
        """Number of cases that are read, and number of all cases."""
        return sum(case.key in self.verdicts for case in worklist.cases), len(worklist.cases)

    def may_see_ai(self, key: str) -> bool:
        """Whether the reader may know what the algorithm says of a case."""
        return not self.blinded or key in self.verdicts

    def opened(self, key: str) -> None:
        """Note that a case is shown now."""
        self._note("opened", key)

    def revealed(self, key: str) -> None:
        """Note that the algorithm's result is shown now.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG`` where it may not be shown yet, see :meth:`may_see_ai`.
        """
        if not self.may_see_ai(key):
            text = f"{key}: the algorithm's result is hidden until the first reading is saved"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        self._note("revealed", key, self.verdicts.get(key))

    def verdict(
        self,
        case: Case,
        reading: Reading,
        *,
        seconds: float,
        confidence: int | None = None,
        comment: str = "",
        locations: Sequence[Location] = (),
        flagged: bool = False,
        adjudicated: bool = False,
    ) -> Verdict:
        """Make a verdict on a case, given now, not saved yet. An adjudicated one settles a disagreement."""
        return Verdict(
            key=case.key,
            sop_instance_uid=case.sop_instance_uid,
            study_instance_uid=case.study_instance_uid,
            reading=reading,
            agreement=agreement(reading, case.decision),
            decision=case.decision,
            confidence=confidence,
            comment=comment,
            locations=tuple(locations),
            flagged=flagged,
            adjudicated=adjudicated,
            model_version=None if self._model is None else self._model.version,
            read_at=_now(),
            seconds=seconds,
        )

    def save(self, verdict: Verdict) -> None:
        """Keep a verdict and its entry in the audit trail: both are on the disk when this returns.

        In a blinded review the first verdict of a case counts as given without the algorithm's, and its
        reading is kept with all that follow.
        """
        former = self.verdicts.get(verdict.key)
        event = "adjudicated" if verdict.adjudicated else "saved" if former is None else "changed"
        self._note(event, verdict.key, self._with_first_reading(verdict, former))

    def reported(self, keys: Iterable[str]) -> None:
        """Note that a verified report with the verdicts on some cases was written."""
        self._add([_event("reported", key, self.verdicts.get(key)) for key in keys])

    def _with_first_reading(self, verdict: Verdict, former: Verdict | None) -> Verdict:
        if not self.blinded:
            return msgspec.structs.replace(verdict, blinded=False, first_reading=None)
        first = verdict.reading if former is None else former.first_reading
        return msgspec.structs.replace(verdict, blinded=former is None, first_reading=first)

    def _note(self, event: str, key: str = "", verdict: Verdict | None = None) -> None:
        self._add([_event(event, key, verdict)])

    def _add(self, events: Sequence[Event]) -> None:
        self._lock.check()
        self._journal.add(events)


def _event(event: str, key: str, verdict: Verdict | None) -> Event:
    return Event(time=_now(), event=event, key=key, verdict=verdict)


def _now() -> str:
    """Time as a review notes it: ISO 8601 with offset."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
