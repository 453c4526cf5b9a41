"""All results of one run on one page, most urgent first; opens from disk, in any browser, with no network."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from monai_bone_ssl.findings import (
    UNVERIFIED,
    Answered,
    ImageFinding,
    OperatingPoints,
    Refused,
    StudyFinding,
    Target,
    describe_body_part,
    describe_image,
    describe_study,
)
from monai_bone_ssl.show.html_document import write_html
from monai_bone_ssl.show.overlay_file import Thumbnail, read_thumbnail

__all__ = ["PageEntry", "write_page"]

# Most urgent first. A file that failed may show anything, so it comes before what was left out on purpose,
# and both before what was found negative.
_GROUPS: Mapping[str, str] = {
    "positive": "Positive",
    "indeterminate": "Indeterminate",
    "failed": "Failed",
    "not_analysed": "Not analysed",
    "negative": "Negative",
}
_ORDER = list(_GROUPS)

# Thumbnails of about 8 kB are embedded for the most urgent images only, so that a browser can open any page.
_THUMBNAILS = 2000
_SIBLINGS = 8  # links to a study's other images; the rest is counted, or one huge study would fill the page


@dataclass(frozen=True)
class PageEntry:
    """One image on the page.

    No pixels are held: the thumbnail is taken out of the overlay's file while the image's card is written.
    Holding thumbnails of a whole run would let memory grow with it.
    """

    finding: ImageFinding
    """Finding of the image."""
    points: OperatingPoints | None
    """Operating points of the image's body part; None where the image was not analysed."""
    overlay: str | None
    """Path of the overlay PNG relative to the page; None where there is none."""


@dataclass(frozen=True)
class _Group:
    """A section of the page."""

    key: str
    name: str
    count: int
    cards: Iterator[_Card]


@dataclass(frozen=True)
class _Study:
    """A study with the numbers of its images on the page."""

    uid: str
    number: int
    conclusion: str | None
    images: Sequence[int]


@dataclass(frozen=True)
class _Sibling:
    """A link to another image of a study."""

    number: int
    words: str


@dataclass(frozen=True)
class _Card:
    """What the page says of one image; numbers count from 1."""

    number: int
    file: str
    answer: str
    probability: float | None
    points: OperatingPoints | None
    reason: str | None
    body_part: str | None
    seconds: float
    overlay: str | None
    thumbnail: Thumbnail | None
    study: _Study | None
    siblings: Sequence[_Sibling]


def write_page(
    entries: Sequence[PageEntry],
    studies: Sequence[StudyFinding],
    out: Path,
    *,
    target: Target,
    model_name: str,
    model_version: str,
    software_version: str,
) -> Path:
    """Write ``index.html`` into ``out``, whole or not at all, card by card.

    Positive images come first, by falling probability; then indeterminate, failed, not analysed and
    negative ones.

    Parameters
    ----------
    entries
        One entry for every input file.
    studies
        Conclusions for the studies that the images belong to.
    out
        Folder of the page and of the overlays; made where missing.
    target
        Condition that the model looks for.
    model_name, model_version, software_version
        Names and versions for the header.

    Returns
    -------
    Path of the page.

    Raises
    ------
    ReportError
        If an overlay cannot be read or the page cannot be written.
    """
    path = out / "index.html"
    ordered = sorted(entries, key=_priority)
    known = _studies(ordered, studies, target)
    values = {
        "target": target,
        "model": f"{model_name} {model_version}",
        "software": software_version,
        "unverified": UNVERIFIED,
        "n_files": len(entries),
        "n_studies": len(known),
        "groups": _groups(ordered, _cards(ordered, known, out, target)),
    }
    write_html(path, "page.html", values)
    return path


def _group(finding: ImageFinding) -> str:
    return finding.decision.value if isinstance(finding, Answered) else finding.status.value


def _probability(finding: ImageFinding) -> float | None:
    return finding.probability if isinstance(finding, Answered) else None


def _priority(entry: PageEntry) -> tuple[int, float, str]:
    finding = entry.finding
    return _ORDER.index(_group(finding)), -(_probability(finding) or 0.0), finding.path


def _groups(entries: Sequence[PageEntry], cards: Iterator[_Card]) -> list[_Group]:
    """Sections that share one run of cards, each taking as many as it has entries."""
    counts = Counter(_group(entry.finding) for entry in entries)
    return [_Group(key, name, counts[key], islice(cards, counts[key])) for key, name in _GROUPS.items()]


def _studies(
    entries: Sequence[PageEntry], conclusions: Sequence[StudyFinding], target: Target
) -> dict[str, _Study]:
    """Studies of the entries by UID, numbered in the order of their most urgent image."""
    images: dict[str, list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        if entry.finding.study_instance_uid is not None:
            images[entry.finding.study_instance_uid].append(index)
    concluded = {study.study_instance_uid: study for study in conclusions}
    studies = {}
    for number, (uid, indices) in enumerate(images.items(), start=1):
        findings = [entries[index].finding for index in indices]
        study = concluded.get(uid)
        words = None if study is None else describe_study(study, findings, target)
        studies[uid] = _Study(uid, number, words, indices)
    return studies


def _cards(
    entries: Sequence[PageEntry], studies: Mapping[str, _Study], out: Path, target: Target
) -> Iterator[_Card]:
    """Cards in the order of the entries, each made when the page asks for it."""
    for index, entry in enumerate(entries):
        finding, overlay = entry.finding, entry.overlay
        thumbnail = None
        if overlay is not None and index < _THUMBNAILS:
            thumbnail = read_thumbnail(out / overlay)
        study = studies.get(finding.study_instance_uid or "")
        yield _Card(
            number=index + 1,
            file=finding.path,
            answer=describe_image(finding, target),
            probability=_probability(finding),
            points=entry.points,
            reason=finding.reason.code if isinstance(finding, Refused) else None,
            body_part=None if finding.body_part is None else describe_body_part(finding.body_part),
            seconds=finding.seconds,
            overlay=None if overlay is None else _link(overlay),
            thumbnail=thumbnail,
            study=study,
            siblings=[] if study is None else _siblings(entries, study, index),
        )


def _siblings(entries: Sequence[PageEntry], study: _Study, index: int) -> list[_Sibling]:
    """Links to the first other images of a study."""
    others = islice((other for other in study.images if other != index), _SIBLINGS)
    return [_Sibling(other + 1, _short_answer(entries[other].finding)) for other in others]


def _short_answer(finding: ImageFinding) -> str:
    probability = f" {finding.probability:.2f}" if isinstance(finding, Answered) else ""
    return f"{_GROUPS[_group(finding)].lower()}{probability}"


def _link(relative: str) -> str:
    """Relative address of a file; ``./`` keeps a name with a colon from being read as a scheme."""
    return "./" + quote(os.fsencode(relative))
