"""A comparison on one page that opens from disk, in any browser, with no network and no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from monai_bone_ssl.show.html_document import write_html
from monai_bone_ssl.training.comparison.charts import Chart
from monai_bone_ssl.training.comparison.gallery import Gallery
from monai_bone_ssl.training.comparison.outcome import (
    ALL_IMAGES,
    FIGURE_HEADINGS,
    MEAN_OF_PARTS,
    POINTING_HEADINGS,
    Level,
    ModelComparison,
)
from monai_bone_ssl.training.measure.estimates import MIN_CASES_TO_MEASURE, Estimate
from monai_bone_ssl.training.measure.paired_tests import Differences, PairedComparison
from monai_bone_ssl.wording import counted

__all__ = ["write_comparison_page"]

# Figures that are shares of images, shown in per cent as the literature does; the others with three decimals.
_IN_PER_CENT = frozenset(
    {
        "accuracy",
        "balanced_accuracy",
        "sensitivity",
        "specificity",
        "sensitivity_at_specificity_85",
        "sensitivity_at_specificity_90",
    }
)
_MINUS = "\N{MINUS SIGN}"

# Class of the columns that sum the parts up.
_TOTALS = {MEAN_OF_PARTS: "total", ALL_IMAGES: "total"}


@dataclass(frozen=True)
class _Cell:
    """One cell of a table, with what stands in small under the text."""

    text: str
    note: str = ""
    style: str = ""
    """Classes of the style sheet."""
    title: str = ""
    """Explanation that a browser shows on pointing."""


@dataclass(frozen=True)
class _Table:
    """A table as the template takes it: a line is a heading and its cells."""

    caption: str
    headings: Sequence[_Cell]
    lines: Sequence[tuple[_Cell, Sequence[_Cell]]]


def write_comparison_page(
    path: Path,
    comparison: ModelComparison,
    *,
    charts: Sequence[Chart],
    errors: Sequence[Gallery],
    suspects: Gallery | None,
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path
        HTML file to write.
    comparison
        Everything measured.
    charts
        Pictures of the figures.
    errors
        Most confident errors, a gallery a row.
    suspects
        Images whose neighbours contradict their label; None where labels were not audited.

    Raises
    ------
    ReportError
        If the file cannot be written.
    """
    values = {
        "comparison": comparison,
        "charts": charts,
        "errors": errors,
        "suspects": suspects,
        "headings": comparison.figures,
        "min_cases": MIN_CASES_TO_MEASURE,
        "figure_table": partial(_figure_table, comparison),
        "difference_table": partial(_difference_table, comparison),
        "pointing_table": partial(_pointing_table, comparison),
    }
    write_html(path, "comparison.html", values)


def _figure_table(comparison: ModelComparison, figure: str, level: Level) -> _Table:
    """One figure: a line a row, a column a part; the best of each column in bold, with its interval."""
    columns = comparison.columns
    best = {column: _best(comparison, figure, column, level) for column in columns}
    mean = comparison.rows[0].mean_at(level)
    enough = () if mean is None else mean.parts
    styles = {column: _TOTALS.get(column, "" if column in enough else "few") for column in columns}
    lines = []
    for row in comparison.rows:
        name = f"{row.name} (baseline)" if row.name == comparison.baseline else row.name
        cells = [
            _figure_cell(row.estimate(figure, column, level), figure, best[column], styles[column])
            for column in columns
        ]
        lines.append((_Cell(name, row.description), cells))
    unit = " in per cent" if figure in _IN_PER_CENT else ""
    caption = f"{FIGURE_HEADINGS[figure]}{unit}, {level} by {level}"
    return _Table(caption, list(_headings(comparison, level)), lines)


def _pointing_table(comparison: ModelComparison) -> _Table:
    """Where each row points: a line a row, a column a figure."""
    figures = list(POINTING_HEADINGS)
    lines = [
        (_Cell(row.name), [_figure_cell(row.pointing(figure), figure, None, "") for figure in figures])
        for row in comparison.rows
    ]
    return _Table("Outlined findings", [_Cell(POINTING_HEADINGS[figure]) for figure in figures], lines)


def _difference_table(comparison: ModelComparison, level: Level) -> _Table:
    """Differences to the baseline row in points of accuracy, both tests, and the difference of AUROCs."""
    pairs = [(row.name, row.difference_at(level)) for row in comparison.rows]
    columns = comparison.columns
    tests = (_Cell("McNemar", "p, all"), _Cell("AUROC", "all", "total"), _Cell("DeLong", "p, all"))
    headings = [*_headings(comparison, level), *tests]
    lines = [(_Cell(name), list(_difference_cells(pair, columns))) for name, pair in pairs if pair]
    return _Table(f"Points of accuracy, {level} by {level}", headings, lines)


def _headings(comparison: ModelComparison, level: Level) -> Iterator[_Cell]:
    """Columns with the positive and negative images, or studies, of each."""
    first = comparison.rows[0]
    metrics = first.metrics_at(level)
    for column in comparison.columns:
        if column == MEAN_OF_PARTS:
            mean = first.mean_at(level)
            note = counted(len(mean.parts), "part") if mean else "none"
        else:
            block = metrics if column == ALL_IMAGES else metrics.per_part[column]
            note = f"{block.n_positive:,} / {block.n - block.n_positive:,}"
        yield _Cell(column[0].upper() + column[1:], note, _TOTALS.get(column, ""))


def _figure_cell(estimate: Estimate, figure: str, best: float | None, style: str) -> _Cell:
    if estimate.value is None:
        return _Cell("none", style=f"few {style}", title=estimate.reason or "")
    text = _number(estimate.value, figure)
    if best is not None and text == _number(best, figure):
        style += " best"
    return _Cell(text, _interval(estimate, figure), style)


def _best(comparison: ModelComparison, figure: str, column: str, level: Level) -> float | None:
    """Best value of a column, where it is defined and there is something to choose from."""
    values = [row.estimate(figure, column, level).value for row in comparison.rows]
    defined = [value for value in values if value is not None]
    if len(defined) < 2:
        return None
    return min(defined) if figure == "ece" else max(defined)


def _difference_cells(pair: PairedComparison, columns: Sequence[str]) -> Iterator[_Cell]:
    totals = {MEAN_OF_PARTS: pair.mean_over_parts, ALL_IMAGES: pair.all}
    for column in columns:
        block: Differences | None = totals[column] if column in totals else pair.per_part[column]
        yield _difference(None if block is None else block.accuracy, "accuracy", _TOTALS.get(column, ""))
    mcnemar = pair.mcnemar
    yield _Cell(_p_value(mcnemar.p_value), f"{mcnemar.only_first_right:,} : {mcnemar.only_second_right:,}")
    yield _difference(pair.all.auroc, "auroc", "total")
    yield _Cell("none" if pair.delong is None else _p_value(pair.delong.p_value))


def _difference(estimate: Estimate | None, figure: str, style: str) -> _Cell:
    if estimate is None or estimate.value is None:
        return _Cell("none", style=f"few {style}")
    if estimate.ci_low is not None and estimate.ci_high is not None:
        # Coloured where zero is outside the interval.
        style += " better" if estimate.ci_low > 0 else " worse" if estimate.ci_high < 0 else ""
    sign = "+" if estimate.value > 0 else ""
    return _Cell(f"{sign}{_number(estimate.value, figure)}", _interval(estimate, figure), style)


def _number(value: float, figure: str) -> str:
    text = f"{100 * value:.1f}" if figure in _IN_PER_CENT else f"{value:.3f}"
    return text.replace("-", _MINUS)


def _interval(estimate: Estimate, figure: str) -> str:
    if estimate.ci_low is None or estimate.ci_high is None:
        return "no interval"
    return f"{_number(estimate.ci_low, figure)} to {_number(estimate.ci_high, figure)}"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
