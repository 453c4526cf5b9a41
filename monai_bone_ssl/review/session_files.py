"""The files of a review's folder.

::

    review.json                what everybody who joins has to agree on: model, target, blinded or not
    journal_<reader>.jsonl     one file a reader: who reads, then a line for each event, with its verdict
    <reader>.lock              who writes as this reader now (:mod:`monai_bone_ssl.review.lock`)

A journal is only ever appended to. Verdicts, former verdicts and audit trail are the same lines, so that none
can be there without the other.

Files are read strictly: one that is missing or damaged is named (``ConfigError``, ``INVALID_DATA``) and never
overwritten. What cannot be written (``ReportError``, ``WRITE_FAILED``) has not changed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import write_atomically, writing
from monai_bone_ssl.findings import Target
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.verdict import Verdict
from monai_bone_ssl.show.results import ModelIdentity

__all__ = ["Event", "Journal", "Terms", "join", "read_journals", "read_verdicts"]

_SCHEMA_VERSION = 2


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of review.json."""

    schema_version: int = _SCHEMA_VERSION
    blinded: bool
    model: ModelIdentity | None
    target: Target | None


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First line of a journal."""

    schema_version: int = _SCHEMA_VERSION
    reader: Reader


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any other line of a journal."""

    time: str
    """Time of the event, ISO 8601 with offset."""
    event: str
    """One of opened, revealed, saved, changed, adjudicated, reported, recovered and closed."""
    key: str = ""
    """Key of the case; empty where the event is about none."""
    verdict: Verdict | None = None
    """Verdict on the case from this event on."""


_Line = TypeVar("_Line", Terms, _Head, Event)


class Journal:
    """The events of one reader's review, and the verdicts that come of them.

    Parameters
    ----------
    path
        File of the journal.
    """

    def __init__(self, path: Path) -> None:
        content = _read(path)
        head, *lines = content.split(b"\n")[:-1] or [b""]
        self.reader = _decode(head, _Head, f"{path}, line 1").reader
        self.events: list[Event] = []
        #: Verdicts by key of the case.
        self.verdicts: dict[str, Verdict] = {}
        #: Key of the case shown last; None at the beginning.
        self.position: str | None = None
        #: Whether a process ended in the middle of a line. Nobody was told that what it says was saved.
        self.cut_short = not content.endswith(b"\n")
        self._path = path
        self._size = content.rfind(b"\n") + 1
        for number, line in enumerate(lines, start=2):
            self._take(_decode(line, Event, f"{path}, line {number}"))

    @classmethod
    def begin(cls, folder: Path, reader: Reader) -> Self:
        """Open a reader's journal, and make one where there is none."""
        path = folder / f"journal_{reader.file_name}.jsonl"
        if not path.exists():
            write_atomically(path, msgspec.json.encode(_Head(reader=reader)) + b"\n")
        return cls(path)

    def add(self, events: Sequence[Event]) -> None:
        """Append events; all of them are on the disk when this returns, and none after an error."""
        lines = b"".join(msgspec.json.encode(event) + b"\n" for event in events)
        with writing(self._path), self._path.open("r+b", buffering=0) as file:
            file.truncate(self._size)  # removes what is left of a line that could not be written whole
            file.seek(self._size)
            try:
                if file.write(lines) < len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(self._size)
                raise
        self._size += len(lines)
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        if event.verdict is not None:
            self.verdicts[event.key] = event.verdict
        if event.event == "opened":
            self.position = event.key


def join(folder: Path, terms: Terms) -> None:
    """Write review.json, or make sure that the existing one says the same.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the review has other terms.
    """
    path = folder / "review.json"
    if not path.exists():
        write_atomically(path, msgspec.json.format(msgspec.json.encode(terms), indent=1) + b"\n")
        return
    existing = _decode(_read(path), Terms, str(path))
    for name in ("blinded", "model", "target"):
        found, expected = getattr(existing, name), getattr(terms, name)
        if found != expected:
            text = f"{path}: this review has {name} {_short(found)}, expected {_short(expected)} to join it"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)


def read_journals(folder: Path) -> list[Journal]:
    """Read the journals of all readers of a review."""
    path = folder / "review.json"
    _decode(_read(path), Terms, str(path))
    return [Journal(path) for path in sorted(folder.glob("journal_*.jsonl"))]


def read_verdicts(folder: Path) -> dict[str, dict[str, Verdict]]:
    """Read the verdicts of all readers of a review: by name of the reader, then by key of the case."""
    return {journal.reader.name: journal.verdicts for journal in read_journals(folder)}


def _short(value: object) -> str:
    if isinstance(value, ModelIdentity):
        return f"{value.name} {value.version} ({value.sha256[:8]})"
    return value.name if isinstance(value, Target) else str(value)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}), expected a file of a review"
        raise ConfigError(ReasonCode.INVALID_DATA, text) from error


def _decode(content: bytes, kind: type[_Line], where: str) -> _Line:
    try:
        decoded = msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
        text = f"{where}: {error}; the file is damaged and was left as it is"
        raise ConfigError(ReasonCode.INVALID_DATA, text) from error
    if not isinstance(decoded, Event) and decoded.schema_version != _SCHEMA_VERSION:
        text = f"{where}: schema_version {decoded.schema_version}, expected {_SCHEMA_VERSION}"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    return decoded
