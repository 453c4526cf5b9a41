"""All results of one run on one page, most urgent first; opens from disk, in any browser, with no network."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from monai_bone_ssl.files import atomic_file
from monai_bone_ssl.findings import (
    UNVERIFIED,
    Decision,
    ImageFinding,
    OperatingPoints,
    StudyFinding,
    Target,
    describe_body_part,
    describe_image,
    describe_study,
)
from monai_bone_ssl.show.html_document import clean, document_head, read_resource
from monai_bone_ssl.show.overlay_file import read_thumbnail

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

# A shape for each group, so that colour is never the only sign.
_SHAPES: Mapping[str, str] = {
    "positive": '<path d="M8 1 15.5 15H.5z"/>',
    "indeterminate": '<path d="M8 0 16 8 8 16 0 8z"/>',
    "failed": '<path d="M2.5 0 8 5.500 13.500 0 16 2.500 10.500 8 16 13.500 13.500 16 8 10.500 2.500 16'
    ' 0 13.500 5.500 8 0 2.500z"/>',
    "not_analysed": '<path d="M0 6h16v4H0z"/>',
    "negative": '<circle cx="8" cy="8" r="7.5"/>',
}

# Of about 8 kB each; embedded for the most urgent images only, so that a browser can open any page.
_THUMBNAILS = 2000
_SIBLINGS = 8  # links to a study's other images; the rest is counted, or one huge study would fill the page


@dataclass(frozen=True)
class PageEntry:
    """One image on the page.

    It carries no pixels: the thumbnail is taken out of the overlay's file while its card is written.
    Holding thumbnails of a whole run would let memory grow with it.
    """

    finding: ImageFinding
    points: OperatingPoints | None
    """Operating points of the image's body part; None where it was not analysed."""
    overlay: str | None
    """Path of the overlay PNG relative to the page; None where there is none."""


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
        One for every input file.
    studies
        Conclusions for the studies the images belong to.
    out
        Folder where the overlays lie too; made where missing.
    target
        What the model looks for.
    model_name, model_version, software_version
        Written into the header.

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
    versions = f"Model {model_name} {model_version}, software {software_version}"
    page = _Page(ordered, studies, out, target)
    with atomic_file(path) as file:
        # Lone surrogates, as undecodable file names have them, are no text: clean removes them.
        file.writelines(piece.encode() for piece in page.html(versions))
    return path


def _group(finding: ImageFinding) -> str:
    return finding.status.value if finding.decision is None else finding.decision.value


def _priority(entry: PageEntry) -> tuple[int, float, str]:
    finding = entry.finding
    return list(_GROUPS).index(_group(finding)), -(finding.probability or 0.0), finding.path


class _Page:
    """The page in pieces of HTML; entries are numbered from 0 in their order."""

    def __init__(
        self, entries: Sequence[PageEntry], studies: Sequence[StudyFinding], out: Path, target: Target
    ) -> None:
        self.entries = entries
        self.out = out
        self.target = target
        self.counts = Counter(_group(entry.finding) for entry in entries)
        self.members: dict[str, list[int]] = defaultdict(list)
        for number, entry in enumerate(entries):
            if entry.finding.study_instance_uid is not None:
                self.members[entry.finding.study_instance_uid].append(number)
        self.study_numbers = {uid: number for number, uid in enumerate(self.members, start=1)}
        self.studies = {study.study_instance_uid: study for study in studies}

    def html(self, versions: str) -> Iterator[str]:
        title = f"{self.target.name.capitalize()} review"
        css, script = read_resource("page.css"), read_resource("page.js")
        yield document_head(title, css, script)
        yield f"""<body>
<header id="all">
<h1>{title}</h1>
<p>{self._scope()}. {clean(versions)}.</p>
<p class="caveat">{UNVERIFIED}</p>
</header>
{self._navigation()}
<main>
"""
        numbers = iter(range(len(self.entries)))
        for group in (group for group in _GROUPS if self.counts[group]):
            yield f'<section id="{group}" aria-labelledby="heading-{group}">\n'
            yield f'<h2 id="heading-{group}">{_GROUPS[group]}</h2>\n<div class="cards">\n'
            for number in islice(numbers, self.counts[group]):
                yield self._card(number)
            yield "</div>\n</section>\n"
        yield f"</main>\n<footer><p>{escape(_INTENDED_USE)}</p></footer>\n<script>{script}</script>\n"
        yield "</body>\n</html>\n"

    def _scope(self) -> str:
        scope = _plural(len(self.entries), "file")
        return f"{scope} in {_plural(len(self.members), 'study', 'studies')}" if self.members else scope

    def _navigation(self) -> str:
        links = [f'<a href="#all">All <b>{len(self.entries)}</b></a>']
        for group, name in _GROUPS.items():
            label = f"{name} <b>{self.counts[group]}</b>"
            shown = self.counts[group] > 0
            links.append(f'<a href="#{group}">{label}</a>' if shown else f'<span class="none">{label}</span>')
        keys = "<kbd>j</kbd> <kbd>k</kbd> next, previous &nbsp; <kbd>o</kbd> open the overlay"
        return (
            f'<nav aria-label="Results by decision"><div>{"".join(links)}'
            f'<span class="keys" hidden>{keys}</span></div></nav>'
        )

    def _card(self, number: int) -> str:
        entry = self.entries[number]
        finding, group = entry.finding, _group(entry.finding)
        answer = clean(describe_image(finding, self.target))
        bar = ""
        if finding.probability is not None and entry.points is not None:
            bar = _bar(finding.probability, entry.points)
        facts = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in self._facts(number))
        return f"""<article id="image-{number + 1}" class="{group}" tabindex="-1">
{self._picture(number)}<div class="facts">
<p class="state"><svg viewBox="0 0 16 16" aria-hidden="true">{_SHAPES[group]}</svg>{_GROUPS[group]}</p>
<h3>{answer}</h3>
{bar}<dl>{facts}</dl>
</div>
</article>
"""

    def _picture(self, number: int) -> str:
        entry = self.entries[number]
        if entry.overlay is None:
            return ""
        name = clean(entry.finding.path)
        content = "<span>Open the overlay</span>"
        if number < _THUMBNAILS:
            jpeg, (width, height) = read_thumbnail(self.out / entry.overlay)
            source = f"data:image/jpeg;base64,{jpeg}"
            alt = f"Radiograph with evidence for {escape(self.target.name)} in colour: {name}"
            content = f'<img src="{source}" width="{width}" height="{height}" alt="{alt}" decoding="async">'
        return (
            f'<a class="picture" href="{_link(entry.overlay)}" target="_blank" rel="noopener"'
            f' title="Open the overlay of {name}">{content}</a>\n'
        )

    def _facts(self, number: int) -> Iterator[tuple[str, str]]:
        finding = self.entries[number].finding
        if finding.reason is not None:
            yield "Reason code", f"<code>{escape(finding.reason.code)}</code>"
        if finding.body_part is not None:
            yield "Body part", clean(describe_body_part(finding.body_part))
        yield "File", f"<bdi>{clean(finding.path)}</bdi>"
        uid = finding.study_instance_uid
        if uid is not None:
            yield "Study", f'<span title="{clean(uid)}">{self.study_numbers[uid]}</span>{self._study(uid)}'
            siblings = [other for other in self.members[uid] if other != number]
            if siblings:
                yield "Also in it", self._siblings(siblings)
        yield "Time", f"{finding.seconds:.2f} s"

    def _study(self, uid: str) -> str:
        study = self.studies.get(uid)
        if study is None:
            return ""
        images = [self.entries[number].finding for number in self.members[uid]]
        return f": {clean(describe_study(study, images, self.target))}"

    def _siblings(self, numbers: Sequence[int]) -> str:
        links = [
            f'<a href="#image-{number + 1}">{_GROUPS[_group(finding)].lower()}{_probability(finding)}</a>'
            for number, finding in ((n, self.entries[n].finding) for n in numbers[:_SIBLINGS])
        ]
        rest = len(numbers) - _SIBLINGS
        return ", ".join(links) + (f" and {rest} more" if rest > 0 else "")


_INTENDED_USE = (
    "Made by an algorithm and not verified by a reader. Not a medical device: for research and for review by "
    "qualified readers only, never on its own a basis for diagnosis or treatment. A negative result does not "
    "exclude disease; an image that failed or was not analysed has not been looked at."
)


def _probability(finding: ImageFinding) -> str:
    return "" if finding.probability is None else f" {finding.probability:.2f}"


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _bar(probability: float, points: OperatingPoints) -> str:
    """The probability on a line from 0 to 1 with the three zones, as SVG without style attributes."""
    start, width = 34, 332  # room at both ends for a number beside a point that lies there
    low, high, x = (
        round(start + width * min(max(value, 0.0), 1.0), 1)
        for value in (points.high_sensitivity, points.high_specificity, probability)
    )
    zones = "".join(
        f'<rect class="{decision.value}" x="{left}" y="26" width="{max(0.0, right - left):.1f}" height="10"/>'
        for decision, left, right in (
            (Decision.NEGATIVE, start, low),
            (Decision.INDETERMINATE, low, high),
            (Decision.POSITIVE, high, start + width),
        )
    )
    label = (
        f"Probability {probability:.2f}; negative below {points.high_sensitivity:.2f}, "
        f"positive from {points.high_specificity:.2f}"
    )
    return (
        f'<svg class="bar" viewBox="0 0 400 54" role="img" aria-label="{label}">{zones}'
        f'<path class="cut" d="M{low} 26v10M{high} 26v10"/>'
        f'<text x="{low - 2:.1f}" y="50" text-anchor="end">{points.high_sensitivity:.2f}</text>'
        f'<text x="{high + 2:.1f}" y="50">{points.high_specificity:.2f}</text>'
        f'<path class="pointer" d="M{x - 6:.1f} 15h12l-6 10z"/>'
        f'<text class="value" x="{x}" y="11" text-anchor="middle">{probability:.2f}</text></svg>\n'
    )


def _link(relative: str) -> str:
    """Relative address of a file; ``./`` keeps a name with a colon from being read as a scheme."""
    return "./" + quote(os.fsencode(relative))
