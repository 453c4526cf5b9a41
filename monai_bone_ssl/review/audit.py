"""What happened in a review and when: one line an event, only ever appended to."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import writing
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session_files import read_records
from monai_bone_ssl.review.verdict import Verdict

__all__ = ["AUDIT_COLUMNS", "add_event", "now", "read_audits"]

#: Header of audit_<reader>.csv.
AUDIT_COLUMNS = ("time", "event", "key", "reading", "decision", "first_reading", "seconds")


def now() -> str:
    """The time as a review notes it: ISO 8601 with offset."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def add_event(
    folder: Path, reader: Reader, event: str, key: str = "", verdict: Verdict | None = None
) -> None:
    """Add an event to a reader's audit trail; it is on the disk when this returns.

    Parameters
    ----------
    folder
        Of the review.
    reader
        Who did it.
    event
        What happened, in one word.
    key
        Of the case that it is about, if it is about one.
    verdict
        As it stands then.

    Raises
    ------
    ReportError
        ``WRITE_FAILED``.
    """
    about = ("", "", "", "")
    if verdict is not None:
        about = (
            verdict.reading,
            verdict.decision or "",
            verdict.first_reading or "",
            f"{verdict.seconds:.1f}",
        )
    _append(_path(folder, reader), (now(), event, key, *about))


def read_audits(folder: Path) -> list[dict[str, str]]:
    """Events of all readers of a review in the order of time, each with its ``reader``.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the folder holds no review, or a file in it is damaged.
    """
    events = []
    for record in read_records(folder):
        path = _path(folder, record.reader)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(ReasonCode.INVALID_DATA, f"{path}: cannot be read") from error
        events += [{"reader": record.reader.name} | row for row in csv.DictReader(lines)]
    return sorted(events, key=lambda event: datetime.fromisoformat(event["time"]))


def _path(folder: Path, reader: Reader) -> Path:
    return folder / f"audit_{reader.file_name}.csv"


def _append(path: Path, row: Sequence[str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists():
        writer.writerow(AUDIT_COLUMNS)
    writer.writerow(row)
    with writing(path), path.open("a", encoding="utf-8", newline="") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())
