"""Consensus of several readers: what they agree on, open disagreements, and what settles them.

Errors are those of :func:`~monai_bone_ssl.review.session_files.read_verdicts`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monai_bone_ssl.review.session_files import read_verdicts
from monai_bone_ssl.review.verdict import Reading, Verdict

__all__ = ["Disagreement", "consensus", "disagreements"]


@dataclass(frozen=True)
class Disagreement:
    """An image that readers read differently, and nobody has adjudicated."""

    key: str
    readings: Mapping[str, Reading]
    """Readings by name of the reader."""


def disagreements(folder: Path) -> list[Disagreement]:
    """Find the open disagreements between the readers of a review."""
    return [
        Disagreement(key, {reader: verdict.reading for reader, verdict in verdicts.items()})
        for key, verdicts in _by_case(folder).items()
        if _settled(verdicts) is None
    ]


def consensus(folder: Path) -> dict[str, Reading]:
    """Find the reading of each image, by key of the case: the adjudicated one, else the unanimous one.

    Images with an open disagreement are left out.
    """
    settled = {key: _settled(verdicts) for key, verdicts in _by_case(folder).items()}
    return {key: reading for key, reading in settled.items() if reading is not None}


def _by_case(folder: Path) -> dict[str, dict[str, Verdict]]:
    cases: dict[str, dict[str, Verdict]] = defaultdict(dict)
    for reader, verdicts in read_verdicts(folder).items():
        for key, verdict in verdicts.items():
            cases[key][reader] = verdict
    return cases


def _settled(verdicts: Mapping[str, Verdict]) -> Reading | None:
    adjudicated = [verdict for verdict in verdicts.values() if verdict.adjudicated]
    if adjudicated:
        return max(adjudicated, key=lambda verdict: datetime.fromisoformat(verdict.read_at)).reading
    readings = {verdict.reading for verdict in verdicts.values()}
    return readings.pop() if len(readings) == 1 else None
