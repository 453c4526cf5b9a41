"""A review as CSV and JSON, for statistics and for the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from monai_bone_ssl.files import csv_bytes, write_atomically
from monai_bone_ssl.findings import Answered
from monai_bone_ssl.review.consensus import consensus
from monai_bone_ssl.review.session_files import Event, Journal, read_journals
from monai_bone_ssl.review.verdict import Reading, Verdict
from monai_bone_ssl.review.worklist import Case, Worklist
from monai_bone_ssl.show.results import ModelIdentity

__all__ = ["export_session"]

_COLUMNS = (
    "key", "study_instance_uid", "body_part", "ai_status", "ai_probability", "ai_decision",
    "reader", "reading", "agreement", "confidence", "first_reading", "blinded", "adjudicated", "flagged",
    "locations", "comment", "read_at", "seconds", "model_version", "consensus",
)  # fmt: skip


_AUDIT_COLUMNS = ("reader", "time", "event", "key", "reading", "decision", "first_reading", "seconds")


class _Case(msgspec.Struct, kw_only=True):
    """One image in review_export.json."""

    key: str
    study_instance_uid: str | None
    body_part: str | None
    ai_status: str | None
    ai_probability: float | None
    ai_decision: str | None
    consensus: Reading | None
    verdicts: dict[str, Verdict]
    """Verdicts by name of the reader."""


class _Export(msgspec.Struct, kw_only=True):
    """Content of review_export.json."""

    schema_version: int = 1
    model: ModelIdentity | None
    cases: list[_Case]
    audit: list[dict[str, str]]


def export_session(folder: Path, worklist: Worklist, out: Path) -> Path:
    """Write all readers' verdicts with the algorithm's results, and the audit trail.

    Images are named by their UIDs, never by a path or a patient; comments are the readers' own words.

    Parameters
    ----------
    folder
        Folder of the review.
    worklist
        Images of the review.
    out
        Folder that gets ``review_export.csv`` (a line for each reader's verdict on each image),
        ``review_export.json`` (the same with locations) and ``review_audit.csv``; made where missing.

    Returns
    -------
    The CSV file with the verdicts.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where a file of the review is damaged.
    ReportError
        ``WRITE_FAILED``.
    """
    journals = read_journals(folder)
    agreed = consensus(folder)
    cases = [
        _export(
            case,
            agreed.get(case.key),
            {j.reader.name: j.verdicts[case.key] for j in journals if case.key in j.verdicts},
        )
        for case in worklist.cases
    ]
    audit = _audit_trail(journals)
    content = msgspec.json.encode(_Export(model=worklist.model, cases=cases, audit=audit))
    write_atomically(out / "review_export.json", msgspec.json.format(content, indent=1) + b"\n")
    _write_csv(out / "review_audit.csv", _AUDIT_COLUMNS, audit)
    rows = [row for case in cases for row in _rows(case)]
    return _write_csv(out / "review_export.csv", _COLUMNS, rows)


def _export(case: Case, agreed: Reading | None, verdicts: dict[str, Verdict]) -> _Case:
    finding = case.finding
    part = None if finding is None else finding.body_part
    return _Case(
        key=case.key,
        study_instance_uid=case.study_instance_uid,
        body_part=None if part is None else part.value,
        ai_status=None if finding is None else finding.status,
        ai_probability=finding.probability if isinstance(finding, Answered) else None,
        ai_decision=case.decision,
        consensus=agreed,
        verdicts=verdicts,
    )


def _rows(case: _Case) -> list[dict[str, object]]:
    """Rows of a case, one for each verdict, with the case's own values in each."""
    of_case = msgspec.to_builtins(case)
    verdicts = of_case.pop("verdicts")
    return [
        verdict | of_case | {"reader": reader, "locations": len(verdict["locations"])}
        for reader, verdict in verdicts.items()
    ]


def _audit_trail(journals: Sequence[Journal]) -> list[dict[str, str]]:
    """Events of all readers in the order of time, each by :data:`_AUDIT_COLUMNS`."""
    events = [(journal.reader.name, event) for journal in journals for event in journal.events]
    events.sort(key=lambda pair: datetime.fromisoformat(pair[1].time))
    return [_audit_row(reader, event) for reader, event in events]


def _audit_row(reader: str, event: Event) -> dict[str, str]:
    about = ("", "", "", "")
    if event.verdict is not None:
        given = event.verdict
        about = (given.reading, given.decision or "", given.first_reading or "", f"{given.seconds:.1f}")
    row = (reader, event.time, event.event, event.key, *about)
    return dict(zip(_AUDIT_COLUMNS, row, strict=True))


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> Path:
    write_atomically(path, csv_bytes(columns, ([row.get(column) for column in columns] for row in rows)))
    return path
