"""All results of one run on one page, most urgent first; opens from disk, in any browser, with no network."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from monai_bone_ssl import __version__
from monai_bone_ssl.findings import (
    UNVERIFIED,
    Answered,
    Decision,
    ImageFinding,
    StudyFinding,
    Target,
    describe_body_part,
    describe_image,
    describe_regions,
    describe_study,
)
from monai_bone_ssl.model.eligibility import require_covered
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.show.html_document import write_html
from monai_bone_ssl.show.overlay_file import read_thumbnail
from monai_bone_ssl.show.probability_bar import ProbabilityBar

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
    overlay: str | None
    """Path of the overlay PNG relative to the page; None where there is none."""


@dataclass(frozen=True)
class _Group:
    """A section of the page: images with the same decision, or left out for the same reason."""

    key: str
    name: str
    answered: bool
    images: Sequence[int]
    """Places of the images among the entries, from 0."""


@dataclass(frozen=True)
class _Study:
    """A study with the places of its images among the entries."""

    number: int
    conclusion: str | None
    images: Sequence[int]

    def siblings(self, image: int) -> list[int]:
        """The first other images of the study."""
        return list(islice((other for other in self.images if other != image), _SIBLINGS))


def write_page(
    entries: Sequence[PageEntry],
    studies: Sequence[StudyFinding],
    out: Path,
    spec: ModelSpec,
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
    spec
        Specification of the model that made the findings.

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
    values = {
        "target": spec.target,
        "model": f"{spec.name} {spec.version}",
        "software": __version__,
        "unverified": UNVERIFIED,
        "entries": ordered,
        "groups": _groups(ordered),
        "studies": _studies(ordered, studies, spec.target),
        "max_thumbnails": _THUMBNAILS,
        "thumbnail": lambda overlay: read_thumbnail(out / overlay),
        "link": _link,
        "probability_bar": lambda finding: _probability_bar(finding, spec),
        "answer": lambda finding: describe_image(finding, spec.target),
        "short_answer": _short_answer,
        "describe_body_part": describe_body_part,
        "describe_regions": describe_regions,
    }
    write_html(path, "page.html", values)
    return path


def _probability_bar(finding: Answered, spec: ModelSpec) -> ProbabilityBar:
    points = require_covered(finding.body_part.value, spec).operating_points
    return ProbabilityBar(finding.probability, points, 0, 332)


def _group(finding: ImageFinding) -> str:
    return finding.decision.value if isinstance(finding, Answered) else finding.status.value


def _priority(entry: PageEntry) -> tuple[int, float, str]:
    finding = entry.finding
    probability = finding.probability if isinstance(finding, Answered) else 0.0
    return list(_GROUPS).index(_group(finding)), -probability, finding.path


def _groups(entries: Sequence[PageEntry]) -> list[_Group]:
    images: dict[str, list[int]] = {key: [] for key in _GROUPS}
    for i, entry in enumerate(entries):
        images[_group(entry.finding)].append(i)
    answers = set(Decision)
    return [_Group(key, name, key in answers, images[key]) for key, name in _GROUPS.items()]


def _studies(
    entries: Sequence[PageEntry], conclusions: Sequence[StudyFinding], target: Target
) -> dict[str, _Study]:
    """Studies of the entries by UID, numbered in the order of their most urgent image."""
    images: dict[str, list[int]] = defaultdict(list)
    for i, entry in enumerate(entries):
        if entry.finding.study_instance_uid is not None:
            images[entry.finding.study_instance_uid].append(i)
    concluded = {study.study_instance_uid: study for study in conclusions}
    studies = {}
    for number, (uid, places) in enumerate(images.items(), start=1):
        study, findings = concluded.get(uid), [entries[i].finding for i in places]
        words = None if study is None else describe_study(study, findings, target)
        studies[uid] = _Study(number, words, places)
    return studies


def _short_answer(finding: ImageFinding) -> str:
    """The answer in a word or two, for a link to an image."""
    probability = f" {finding.probability:.2f}" if isinstance(finding, Answered) else ""
    return f"{_GROUPS[_group(finding)].lower()}{probability}"


def _link(relative: str) -> str:
    """Relative address of a file; ``./`` keeps a name with a colon from being read as a scheme."""
    return "./" + quote(os.fsencode(relative))
