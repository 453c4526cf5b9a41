"""One reader's review, kept in a folder that several readers share.

A verdict is on the disk when :meth:`ReviewSession.save` returns. No file is written by two readers, none that
cannot be read is overwritten, and a former verdict moves to the history. What the files hold:
:mod:`monai_bone_ssl.review.session_files`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import msgspec

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.review.audit import add_event, now
from monai_bone_ssl.review.lock import ReaderLock
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session_files import Record, Terms, join, read_record, write_record
from monai_bone_ssl.review.verdict import Location, Reading, Verdict, agreement
from monai_bone_ssl.review.worklist import Case, Worklist
from monai_bone_ssl.show.results import ModelIdentity

__all__ = ["ReviewSession"]


class ReviewSession:
    """One reader's review: made by :meth:`open`, ended by :meth:`close` or as a context manager."""

    def __init__(
        self,
        folder: Path,
        model: ModelIdentity | None,
        blinded: bool,
        record: Record,
        lock: ReaderLock,
    ) -> None:
        self.folder = folder
        self.blinded = blinded
        self._model = model
        self._record = record
        self._lock = lock

    @classmethod
    def open(cls, folder: Path, reader: Reader, worklist: Worklist, blinded: bool = False) -> Self:
        """Begin a review, or resume one.

        Parameters
        ----------
        folder
            Made where missing; other readers' reviews of the same images may be in it.
        reader
            Who reads. Only one process at a time may write as a reader.
        worklist
            The images.
        blinded
            Hide what the algorithm says of an image until the reader has read it.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG`` where the folder's review is of another model or blinded otherwise, or another
            process writes as this reader; ``INVALID_DATA`` where a file in it is damaged.
        ReportError
            ``WRITE_FAILED`` where the folder cannot be written.
        """
        join(folder, Terms(blinded=blinded, model=worklist.model, target=worklist.target))
        lock = ReaderLock.acquire(folder / f"{reader.file_name}.lock", reader.name)
        try:
            record = read_record(folder, reader)
        except ConfigError:
            lock.release()
            raise
        return cls(folder, worklist.model, blinded, record, lock)

    def close(self) -> None:
        """End the review; it can be resumed."""
        self._audit("closed")
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
    def reader(self) -> Reader:
        """Who reads."""
        return self._record.reader

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        """The reader's verdicts by case."""
        return MappingProxyType(self._record.verdicts)

    @property
    def position(self) -> str | None:
        """Key of the case shown last; None at the beginning."""
        return self._record.position

    def progress(self, worklist: Worklist) -> tuple[int, int]:
        """How many of the cases are read, and how many there are."""
        return sum(case.key in self.verdicts for case in worklist.cases), len(worklist.cases)

    def may_see_ai(self, key: str) -> bool:
        """Whether the reader may know what the algorithm says of a case."""
        return not self.blinded or key in self.verdicts

    def opened(self, key: str) -> None:
        """Note that a case is shown now."""
        self._lock.check()
        self._write(position=key)
        self._audit("opened", key)

    def revealed(self, key: str) -> None:
        """Note that the algorithm's result is shown now.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG`` where it may not be, see :meth:`may_see_ai`.
        """
        if not self.may_see_ai(key):
            text = f"{key}: the algorithm's result is hidden until the first reading is saved"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        self._audit("revealed", key, self.verdicts.get(key))

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
        """A verdict on a case, given now; not saved yet. An adjudicated one settles a disagreement."""
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
            read_at=now(),
            seconds=seconds,
        )

    def save(self, verdict: Verdict) -> None:
        """Keep a verdict on the disk. A former one of the same case moves to the history.

        In a blinded review the first verdict of a case counts as given without the algorithm's, and its
        reading is kept with all that follow.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG`` where another process has taken over.
        ReportError
            ``WRITE_FAILED`` where the folder cannot be written; the former verdicts are untouched.
        """
        former = self.verdicts.get(verdict.key)
        kept = self._with_first_reading(verdict, former)
        self._lock.check()
        history = self._record.history if former is None else [*self._record.history, former]
        self._write(verdicts={**self._record.verdicts, kept.key: kept}, history=history)
        event = "adjudicated" if kept.adjudicated else "saved" if former is None else "changed"
        self._audit(event, kept.key, kept)

    def reported(self, key: str) -> None:
        """Note that a verified report with the verdict on a case was written."""
        self._audit("reported", key, self.verdicts.get(key))

    def _with_first_reading(self, verdict: Verdict, former: Verdict | None) -> Verdict:
        if not self.blinded:
            return msgspec.structs.replace(verdict, blinded=False, first_reading=None)
        first = verdict.reading if former is None else former.first_reading
        return msgspec.structs.replace(verdict, blinded=former is None, first_reading=first)

    def _write(self, **changes: object) -> None:
        """Write the record with changes, and keep them only if that worked."""
        changed = msgspec.structs.replace(self._record, **changes)
        write_record(self.folder, changed)
        self._record = changed

    def _audit(self, event: str, key: str = "", verdict: Verdict | None = None) -> None:
        add_event(self.folder, self.reader, event, key, verdict)
