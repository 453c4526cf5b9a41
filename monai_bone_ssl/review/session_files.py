"""The files of a review's folder, read strictly: one that is damaged is named and never overwritten.

::

    review.json                what everybody who joins has to agree on: model, target, blinded or not
    verdicts_<reader>.json     one file a reader: verdicts, former verdicts, the case shown last
    audit_<reader>.csv         what happened when (:mod:`monai_bone_ssl.review.audit`)
    <reader>.lock              who writes as this reader now (:mod:`monai_bone_ssl.review.lock`)
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.findings import Target
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.verdict import Verdict
from monai_bone_ssl.show.results import ModelIdentity

__all__ = [
    "Record",
    "Terms",
    "join",
    "read_record",
    "read_records",
    "read_verdicts",
    "write_record",
]

_SCHEMA_VERSION = 1


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of review.json."""

    schema_version: int = _SCHEMA_VERSION
    blinded: bool
    model: ModelIdentity | None
    target: Target | None


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of verdicts_<reader>.json."""

    schema_version: int = _SCHEMA_VERSION
    reader: Reader
    position: str | None = None
    """Key of the case shown last; None at the beginning."""
    verdicts: dict[str, Verdict] = {}
    """By key of the case."""
    history: list[Verdict] = []
    """Former verdicts, in the order in which they were replaced."""


_File = TypeVar("_File", Terms, Record)


def join(folder: Path, terms: Terms) -> None:
    """Write review.json, or make sure that the one there says the same.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where it says otherwise; ``INVALID_DATA`` where it is damaged.
    ReportError
        ``WRITE_FAILED``.
    """
    path = folder / "review.json"
    if not path.exists():
        _write(path, terms)
        return
    there = _read(path, Terms)
    for name in ("blinded", "model", "target"):
        found, expected = getattr(there, name), getattr(terms, name)
        if found != expected:
            text = f"{path}: this review has {name} {_short(found)}, expected {_short(expected)} to join it"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)


def read_record(folder: Path, reader: Reader) -> Record:
    """What a reader has said so far; an empty record where nothing.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the file is damaged.
    """
    path = _record_path(folder, reader)
    kept = _read(path, Record) if path.exists() else Record(reader=reader)
    return msgspec.structs.replace(kept, reader=reader)  # the organization may be another one today


def write_record(folder: Path, record: Record) -> None:
    """Keep a reader's record; it is on the disk when this returns.

    Raises
    ------
    ReportError
        ``WRITE_FAILED``; the former file is untouched.
    """
    _write(_record_path(folder, record.reader), record)


def read_records(folder: Path) -> list[Record]:
    """The records of all readers of a review.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the folder holds no review, or a file in it is damaged.
    """
    _read(folder / "review.json", Terms)
    return [_read(path, Record) for path in sorted(folder.glob("verdicts_*.json"))]


def read_verdicts(folder: Path) -> dict[str, dict[str, Verdict]]:
    """Verdicts of all readers of a review: name of the reader, then key of the case.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the folder holds no review, or a file in it is damaged.
    """
    return {record.reader.name: record.verdicts for record in read_records(folder)}


def _record_path(folder: Path, reader: Reader) -> Path:
    return folder / f"verdicts_{reader.file_name}.json"


def _short(value: object) -> str:
    if isinstance(value, ModelIdentity):
        return f"{value.name} {value.version} ({value.sha256[:8]})"
    return value.name if isinstance(value, Target) else str(value)


def _write(path: Path, content: Terms | Record) -> None:
    write_atomically(path, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def _read(path: Path, kind: type[_File]) -> _File:
    try:
        content = msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}), expected a file of a review"
        raise ConfigError(ReasonCode.INVALID_DATA, text) from error
    except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
        text = f"{path}: {error}; the file is damaged and was left as it is"
        raise ConfigError(ReasonCode.INVALID_DATA, text) from error
    if content.schema_version != _SCHEMA_VERSION:
        text = f"{path}: schema_version {content.schema_version}, expected {_SCHEMA_VERSION}"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    return content
