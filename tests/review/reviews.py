"""Reading what the fixture ``analysed`` holds."""

from __future__ import annotations

from pathlib import Path

from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.session_files import read_journals
from monai_bone_ssl.review.verdict import Location, Reading
from monai_bone_ssl.review.worklist import Case, Worklist

ANNA, BEN = Reader("Doe^Anna", "City Hospital"), Reader("Ben Roe")


def by_name(worklist: Worklist) -> dict[str, Case]:
    return {case.path.stem: case for case in worklist.cases}


def read(
    session: ReviewSession,
    worklist: Worklist,
    readings: dict[str, Reading],
    locations: tuple[Location, ...] = (),
    comment: str = "",
) -> None:
    """Save a verdict on each named image."""
    cases = by_name(worklist)
    for name, reading in readings.items():
        session.opened(cases[name].key)
        session.save(session.verdict(cases[name], reading, seconds=2.0, comment=comment, locations=locations))


def review(folder: Path, reader: Reader, worklist: Worklist, readings: dict[str, Reading]) -> None:
    """A whole session."""
    with ReviewSession.open(folder, reader, worklist) as session:
        read(session, worklist, readings)


def events(folder: Path) -> list[str]:
    """What happened in a review, of all readers."""
    return [event.event for journal in read_journals(folder) for event in journal.events]
