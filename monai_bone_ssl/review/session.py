"""One reader's review, kept in a folder that several readers share.

The folder::

    review.json                what everybody who joins has to agree on: model, target, blinded or not
    verdicts_<reader>.json     one file a reader: verdicts, former verdicts, the case shown last
    audit_<reader>.csv         what happened when, one line an event; only ever appended to
    <reader>.lock              who writes as this reader now

A verdict is on the disk when :meth:`ReviewSession.save` returns. No file is written by two readers, none that
cannot be read is overwritten, and a former verdict moves to the history.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self, TypeVar

import msgspec

from monai_bone_ssl.errors import ConfigError, ReasonCode, ReportError
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.findings import Target
from monai_bone_ssl.results import ModelIdentity
from monai_bone_ssl.review.lock import ReaderLock
from monai_bone_ssl.review.verdict import Location, Reading, Verdict, agreement
from monai_bone_ssl.review.worklist import Case, Worklist

__all__ = ["AUDIT_COLUMNS", "Reader", "ReviewSession", "read_audits", "read_verdicts"]

T = TypeVar("T")

_SCHEMA_VERSION = 1
_LONGEST = 64  # characters in a component group of VR PN, and in VR LO

#: Header of audit_<reader>.csv.
AUDIT_COLUMNS = ("time", "event", "key", "reading", "decision", "first_reading", "seconds")


class Reader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who reads.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the name is empty, or either is too long or not what DICOM can hold.
    """

    name: str
    """As a DICOM person name, ``Family^Given``, or plain."""
    organization: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip(" ^") or "=" in self.name or self.name.count("^") > 4:
            text = "the reader's name: expected a name, such as Family^Given"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        for value in (self.name, self.organization):
            if len(value) > _LONGEST or "\\" in value or not value.isprintable():
                text = f"the reader's name and organization: expected {_LONGEST} characters, no backslash"
                raise ConfigError(ReasonCode.INVALID_CONFIG, text)

    @property
    def person_name(self) -> str:
        """As a DICOM person name; a caret says that a plain name is one on purpose."""
        return self.name if "^" in self.name else f"{self.name}^"

    def require_organization(self) -> None:
        """Refuse a reader without an organization, which DICOM asks a verified report to name.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG``.
        """
        if not self.organization.strip():
            text = f"reader {self.name}: expected an organization, which a verified report has to name"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)

    @property
    def file_name(self) -> str:
        """What stands for the reader in names of files; two names never share one."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.casefold()).strip("-")[:32] or "reader"
        return f"{slug}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


class _Review(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of review.json."""

    schema_version: int = _SCHEMA_VERSION
    blinded: bool
    model: ModelIdentity | None
    target: Target | None


class _Record(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Content of verdicts_<reader>.json."""

    schema_version: int = _SCHEMA_VERSION
    reader: Reader
    position: str | None = None
    verdicts: dict[str, Verdict] = {}
    history: list[Verdict] = []


class ReviewSession:
    """One reader's review: made by :meth:`open`, ended by :meth:`close` or as a context manager."""

    def __init__(
        self,
        folder: Path,
        reader: Reader,
        model: ModelIdentity | None,
        blinded: bool,
        record: _Record,
        lock: ReaderLock,
    ) -> None:
        self.folder = folder
        self.reader = reader
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
        _join(folder / "review.json", _Review(blinded=blinded, model=worklist.model, target=worklist.target))
        lock = ReaderLock.acquire(folder / f"{reader.file_name}.lock", reader.name)
        try:
            path = _record_path(folder, reader)
            record = _read(path, _Record) if path.exists() else _Record(reader=reader)
        except ConfigError:
            lock.release()
            raise
        record.reader = reader
        return cls(folder, reader, worklist.model, blinded, record, lock)

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
            read_at=_now(),
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
        content = msgspec.json.format(msgspec.json.encode(changed), indent=1) + b"\n"
        write_atomically(_record_path(self.folder, self.reader), content)
        self._record = changed

    def _audit(self, event: str, key: str = "", verdict: Verdict | None = None) -> None:
        row = [_now(), event, key]
        if verdict is not None:
            row += [
                verdict.reading,
                verdict.decision or "",
                verdict.first_reading or "",
                f"{verdict.seconds:.1f}",
            ]
        row += [""] * (len(AUDIT_COLUMNS) - len(row))
        _append(self.folder / f"audit_{self.reader.file_name}.csv", row)


def read_verdicts(folder: Path) -> dict[str, dict[str, Verdict]]:
    """Verdicts of all readers of a review: name of the reader, then key of the case.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the folder holds no review, or a file in it is damaged.
    """
    _read(folder / "review.json", _Review)
    records = [_read(path, _Record) for path in sorted(folder.glob("verdicts_*.json"))]
    return {record.reader.name: record.verdicts for record in records}


def read_audits(folder: Path) -> list[dict[str, str]]:
    """Events of all readers of a review in the order of time, each with its ``reader``.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` as :func:`read_verdicts`.
    """
    events = []
    for path in sorted(folder.glob("verdicts_*.json")):
        reader = _read(path, _Record).reader
        audit = folder / f"audit_{reader.file_name}.csv"
        try:
            lines = audit.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(ReasonCode.INVALID_DATA, f"{audit}: cannot be read") from error
        events += [{"reader": reader.name} | row for row in csv.DictReader(lines)]
    return sorted(events, key=lambda event: datetime.fromisoformat(event["time"]))


# --- files --------------------------------------------------------------------------------------------


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _record_path(folder: Path, reader: Reader) -> Path:
    return folder / f"verdicts_{reader.file_name}.json"


def _join(path: Path, review: _Review) -> None:
    """Write review.json, or make sure that the one there says the same."""
    if not path.exists():
        write_atomically(path, msgspec.json.format(msgspec.json.encode(review), indent=1) + b"\n")
        return
    there = _read(path, _Review)
    for name in ("blinded", "model", "target"):
        found, expected = getattr(there, name), getattr(review, name)
        if found != expected:
            text = f"{path}: this review has {name} {_short(found)}, expected {_short(expected)} to join it"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)


def _short(value: object) -> str:
    if isinstance(value, ModelIdentity):
        return f"{value.name} {value.version} ({value.sha256[:8]})"
    return value.name if isinstance(value, Target) else str(value)


def _read(path: Path, kind: type[T]) -> T:
    try:
        content = msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}), expected a file of a review"
        raise ConfigError(ReasonCode.INVALID_DATA, text) from error
    except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
        text = f"{path}: {error}; the file is damaged and was left as it is"
        raise ConfigError(ReasonCode.INVALID_DATA, text) from error
    version = getattr(content, "schema_version", None)
    if version != _SCHEMA_VERSION:
        text = f"{path}: schema_version {version}, expected {_SCHEMA_VERSION}"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    return content


def _append(path: Path, row: Sequence[str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists():
        writer.writerow(AUDIT_COLUMNS)
    writer.writerow(row)
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ReportError(ReasonCode.WRITE_FAILED, f"{path}: cannot be written ({error.strerror})") from error
