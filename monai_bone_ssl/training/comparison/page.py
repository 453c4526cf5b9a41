"""A comparison on one page that opens from disk, in any browser, with no network and no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.show.html_document import clean, document_head, read_resource
from monai_bone_ssl.training.comparison.charts import Chart
from monai_bone_ssl.training.comparison.gallery import Card, Gallery
from monai_bone_ssl.training.comparison.html import difference_table, figure_table
from monai_bone_ssl.training.comparison.outcome import Comparison
from monai_bone_ssl.training.comparison.table import FIGURES, levels
from monai_bone_ssl.training.measure.metrics import MIN_CASES

__all__ = ["write_page"]


def write_page(
    comparison: Comparison,
    path: Path,
    *,
    charts: Sequence[Chart],
    errors: Sequence[Gallery],
    suspects: Gallery | None,
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    comparison
        Everything measured.
    path
        The HTML file.
    charts
        Pictures of the figures.
    errors
        Most confident errors, a gallery a row.
    suspects
        Images whose neighbours contradict their label; None where there are no features to seek them by.

    Raises
    ------
    ReportError
        If the file cannot be written.
    """
    sections = (
        _header(comparison),
        "<main>\n",
        _main_table(comparison),
        _differences(comparison),
        _other_figures(comparison),
        _charts(charts),
        _errors(errors),
        _audit(suspects),
        _data(comparison),
        _protocol(comparison),
        _again(comparison),
        f"</main>\n<footer><p>{_CAVEAT}</p></footer>\n",
    )
    title = f"{comparison.data.name}: comparison"
    write_atomically(path, (_document(title, "".join(sections))).encode("utf-8"))


_CAVEAT = (
    "Research figures of algorithms on one set of labelled images. Not a medical device; no figure here says "
    "how a model does on other patients, machines or questions."
)


def _document(title: str, body: str) -> str:
    head = document_head(title, read_resource("comparison.css"))
    return f"""{head}<body>
{body}</body>
</html>
"""


def _header(comparison: Comparison) -> str:
    data = comparison.data
    metrics = comparison.rows[0].metrics
    studies = "" if data.n_studies is None else f" in {data.n_studies:,} studies"
    return f"""<header>
<h1>{clean(data.target.capitalize())} on {clean(data.name)}: {len(comparison.rows)} models compared</h1>
<p>{metrics.n:,} evaluated images{studies} of {data.n_groups:,} patients or groups,
{metrics.n_positive:,} of them positive. {clean(comparison.protocol.description)}</p>
</header>
"""


def _main_table(comparison: Comparison) -> str:
    text = (
        f"An image counts as positive from a probability of {comparison.protocol.threshold:g} on. Small "
        "numbers: 95 % interval from 2,000 bootstrap resamples of whole groups, drawn once for all seeds. "
        "Under each part: positive / negative images. Blue: best of the column; where intervals overlap, "
        f"read the differences below instead. Italic: fewer than {MIN_CASES} positive or negative images, "
        "not part of the mean."
    )
    return (
        f'<section id="table">\n<h2>Accuracy</h2>\n{figure_table(comparison, "accuracy")}'
        f'<p class="note">{text}</p>\n</section>\n'
    )


def _differences(comparison: Comparison) -> str:
    if len(comparison.rows) == 1:
        return ""
    tables = [difference_table(comparison)]
    if "study" in levels(comparison):
        tables.append(f"<h3>Study by study</h3>\n{difference_table(comparison, 'study')}")
    text = (
        "Each row minus the baseline, on the same images and the seeds that both have; coloured where the "
        "95 % interval leaves zero out. The intervals resample whole groups (patients). Under McNemar's p: "
        "images that only the row, and only the baseline, gets right. Both p-values are of the first seed, "
        "take images as independent, which images of one patient are not, and are not corrected for the "
        "number of rows."
    )
    return (
        f'<section id="differences">\n<h2>Difference to {clean(comparison.baseline)}</h2>\n{"".join(tables)}'
        f'<p class="note">{text}</p>\n</section>\n'
    )


def _other_figures(comparison: Comparison) -> str:
    pieces = [
        _folded(heading, figure_table(comparison, name))
        for name, heading in FIGURES.items()
        if name != "accuracy"
    ]
    if "study" in levels(comparison):
        pieces.append(
            "<h3>Study by study</h3>\n<p class='note'>A study's probability is the mean of its images'; it "
            "is positive where one of its images is.</p>\n"
        )
        pieces += [
            _folded(heading, figure_table(comparison, name, "study")) for name, heading in FIGURES.items()
        ]
    return f'<section id="figures">\n<h2>Other figures</h2>\n{"".join(pieces)}</section>\n'


def _charts(charts: Sequence[Chart]) -> str:
    return "".join(
        f'<section>\n<h2>{chart.title}</h2>\n<figure><img src="data:image/png;base64,{_base64(chart.png)}" '
        f'width="{_shown_width(chart.png)}" alt="{chart.title}">'
        f"<figcaption>{chart.caption}</figcaption></figure>\n</section>\n"
        for chart in charts
    )


def _shown_width(png: bytes) -> int:
    with Image.open(io.BytesIO(png)) as image:
        return round(image.width * 96 / 200)  # drawn at 200 dots an inch


def _errors(errors: Sequence[Gallery]) -> str:
    if not errors:
        return ""
    pieces = "".join(_folded(clean(gallery.title), _gallery(gallery)) for gallery in errors)
    return (
        '<section id="errors">\n<h2>Most confident errors</h2>\n<p class="note">By the mean probability over '
        f"the seeds. An error may also be one of the label.</p>\n{pieces}</section>\n"
    )


def _folded(summary: str, content: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n{content}</details>\n"


def _audit(suspects: Gallery | None) -> str:
    if suspects is None:
        return ""
    return f'<section id="audit">\n<h2>{clean(suspects.title)}</h2>\n{_gallery(suspects)}</section>\n'


def _gallery(gallery: Gallery) -> str:
    cards = "".join(_card(card) for card in gallery.cards)
    return f'<p class="note">{clean(gallery.note)}</p>\n<ul class="cards">\n{cards}</ul>\n'


def _card(card: Card) -> str:
    name, picture = clean(card.name), ""
    if card.picture is not None:
        thumbnail = card.picture
        picture = (
            f'<span class="picture"><img src="data:image/jpeg;base64,{_base64(thumbnail.jpeg)}" '
            f'width="{thumbnail.width}" height="{thumbnail.height}" alt="{name}" decoding="async"></span>'
        )
    return f"<li>{picture}{clean(card.facts)}<br><small><bdi>{name}</bdi></small></li>\n"


def _data(comparison: Comparison) -> str:
    data = comparison.data
    lines = "".join(
        f'<tr><th scope="row">{clean(part)}</th><td>{c.train_positive:,}</td><td>{c.train_negative:,}</td>'
        f"<td>{c.test_positive:,}</td><td>{c.test_negative:,}</td></tr>\n"
        for part, c in data.parts.items()
    )
    return f"""<section id="data">
<h2>Data</h2>
<dl><dt>Name</dt><dd>{clean(data.name)}</dd><dt>Reference</dt><dd>{clean(data.reference)}</dd>
<dt>Licence</dt><dd>{clean(data.licence)}</dd><dt>Positive means</dt><dd>{clean(data.target)}</dd>
<dt>Digest</dt><dd>{clean(data.digest)}</dd></dl>
<div class="scroll"><table><thead><tr><th class="left" scope="col">Images</th>
<th scope="col">train, positive</th><th scope="col">train, negative</th>
<th scope="col">evaluated, positive</th>
<th scope="col">evaluated, negative</th></tr></thead>
<tbody>
{lines}</tbody></table></div>
</section>
"""


def _protocol(comparison: Comparison) -> str:
    protocol = comparison.protocol
    facts = {
        "Evaluation": protocol.description,
        "Seeds": ", ".join(map(str, protocol.seeds)),
        "Linear probes": protocol.probe_scope or "none in this comparison",
    }
    fewer = [row for row in comparison.rows if row.seeds != protocol.seeds]
    if fewer:
        names = "; ".join(f"{row.name}: {', '.join(map(str, row.seeds))}" for row in fewer)
        facts["Rows with fewer seeds"] = names
    content = "".join(f"<dt>{name}</dt><dd>{clean(text)}</dd>" for name, text in facts.items())
    return f'<section id="protocol">\n<h2>Protocol</h2>\n<dl>{content}</dl>\n</section>\n'


def _again(comparison: Comparison) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in comparison.software.items())
    return (
        f'<section id="again">\n<h2>To run it again</h2>\n<pre>{clean(comparison.command)}</pre>\n'
        f'<p class="note">{clean(versions)}</p>\n</section>\n'
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
