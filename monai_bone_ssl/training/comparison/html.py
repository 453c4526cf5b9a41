"""Tables of a comparison as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monai_bone_ssl.show.html_document import clean
from monai_bone_ssl.training.comparison.outcome import Comparison, RowOutcome
from monai_bone_ssl.training.comparison.table import ALL, FIGURES, MEAN, Level, cell, columns
from monai_bone_ssl.training.measure.metrics import MIN_CASES, Estimate, MetricsByPart
from monai_bone_ssl.training.measure.paired_tests import Differences, PairedComparison

__all__ = ["difference_table", "figure_table"]

# Figures that are shares of images, shown in per cent as the paper does; the others with three decimals.
_IN_PER_CENT = frozenset({"accuracy", "balanced_accuracy", "sensitivity", "specificity"})
_MINUS = "\N{MINUS SIGN}"


def figure_table(comparison: Comparison, figure: str, level: Level = "image") -> str:
    """One figure: a line a row, a column a part; the best of each column in bold, with its interval.

    Parameters
    ----------
    comparison
        Everything measured.
    figure
        Of :data:`~monai_bone_ssl.training.comparison.table.FIGURES`.
    level
        Image by image or study by study.
    """
    names = columns(comparison)
    best = {column: _best(comparison, figure, column, level) for column in names}
    few = _parts_with_few(comparison, level)
    lines = []
    for row in comparison.rows:
        cells = "".join(
            _cell(cell(row, figure, column, level), figure, best[column], column, column in few)
            for column in names
        )
        lines.append(f"<tr>{_row_heading(row, comparison.baseline)}{cells}</tr>")
    unit = " in per cent" if figure in _IN_PER_CENT else ""
    caption = f"{FIGURES[figure]}{unit}, {level} by {level}"
    return _table(caption, _heading(comparison, level), lines)


def difference_table(comparison: Comparison, level: Level = "image") -> str:
    """Differences to the baseline row in points of accuracy, both tests, and the difference of AUROCs."""
    pairs = [(row, _pair(row, level)) for row in comparison.rows]
    names = columns(comparison)
    lines = []
    for row, pair in pairs:
        if pair is not None:
            cells = "".join(_difference_cells(pair, names))
            lines.append(f'<tr><th scope="row">{clean(row.name)}</th>{cells}</tr>')
    head = (
        f"{_heading_cells(comparison, names, level)}<th>McNemar<small>p, all</small></th>"
        '<th class="total">AUROC<small>all</small></th><th>DeLong<small>p, all</small></th>'
    )
    caption = f"Points of accuracy, {level} by {level}"
    return _table(caption, head, lines)


def _table(caption: str, head: str, lines: Sequence[str]) -> str:
    body = "\n".join(lines)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table>\n'
        f'<thead><tr><th class="left" scope="col">{caption}</th>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>\n"
    )


def _heading(comparison: Comparison, level: Level) -> str:
    return _heading_cells(comparison, columns(comparison), level)


def _heading_cells(comparison: Comparison, names: Sequence[str], level: Level) -> str:
    metrics: MetricsByPart | None = comparison.rows[0].metrics
    if level == "study":
        metrics = comparison.rows[0].metrics.study_level
    if metrics is None:
        raise ValueError("studies are unknown")
    cells = []
    for name in names:
        if name == MEAN:
            first = comparison.rows[0]
            mean = first.mean_over_parts if level == "image" else first.study_mean_over_parts
            text = f"{len(mean.parts)} parts" if mean else "none"
            cells.append(f'<th scope="col" class="total">{MEAN}<small>{text}</small></th>')
            continue
        block = metrics if name == ALL else metrics.per_part[name]
        counts = f"{block.n_positive:,} / {block.n - block.n_positive:,}"
        shown = name if name == ALL else clean(name.capitalize())
        side = ' class="total"' if name == ALL else ""
        cells.append(f'<th scope="col"{side}>{shown}<small>{counts}</small></th>')
    return "".join(cells)


def _row_heading(row: RowOutcome, baseline: str) -> str:
    note = " (baseline)" if row.name == baseline else ""
    return f'<th scope="row">{clean(row.name)}{note}<small>{clean(row.description)}</small></th>'


def _cell(estimate: Estimate, figure: str, best: float | None, column: str, few: bool) -> str:
    classes = _classes(column, few)
    if estimate.value is None:
        return f'<td class="few{classes}" title="{clean(estimate.reason or "")}">none</td>'
    shown = _number(estimate.value, figure)
    if best is not None and shown == _number(best, figure):
        classes += " best"
    return f'<td class="{classes.strip()}">{shown}<small>{_interval(estimate, figure)}</small></td>'


def _classes(column: str, few: bool) -> str:
    return (" total" if column in (MEAN, ALL) else "") + (" few" if few else "")


def _best(comparison: Comparison, figure: str, column: str, level: Level) -> float | None:
    """Of the column, where it is defined and there is something to choose from."""
    values = [cell(row, figure, column, level).value for row in comparison.rows]
    defined = [value for value in values if value is not None]
    if len(defined) < 2:
        return None
    return min(defined) if figure == "ece" else max(defined)


def _parts_with_few(comparison: Comparison, level: Level) -> frozenset[str]:
    metrics = comparison.rows[0].metrics
    blocks = (metrics if level == "image" else metrics.study_level or metrics).per_part
    return frozenset(
        part
        for part, block in blocks.items()
        if min(block.n_positive, block.n - block.n_positive) < MIN_CASES
    )


def _number(value: float, figure: str) -> str:
    text = f"{100 * value:.1f}" if figure in _IN_PER_CENT else f"{value:.3f}"
    return text.replace("-", _MINUS)


def _interval(estimate: Estimate, figure: str) -> str:
    if estimate.ci_low is None or estimate.ci_high is None:
        return "no interval"
    return f"{_number(estimate.ci_low, figure)} to {_number(estimate.ci_high, figure)}"


def _pair(row: RowOutcome, level: Level) -> PairedComparison | None:
    return row.against_baseline if level == "image" else row.study_against_baseline


def _difference_cells(pair: PairedComparison, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        block: Differences | None
        block = pair.all if name == ALL else pair.mean_over_parts if name == MEAN else pair.per_part[name]
        yield _difference(None if block is None else block.accuracy, "accuracy", name in (MEAN, ALL))
    mcnemar = pair.mcnemar
    counts = f"{mcnemar.only_first_right:,} : {mcnemar.only_second_right:,}"
    yield f"<td>{_p_value(mcnemar.p_value)}<small>{counts}</small></td>"
    yield _difference(pair.all.auroc, "auroc", True)
    yield f"<td>{'none' if pair.delong is None else _p_value(pair.delong.p_value)}</td>"


def _difference(estimate: Estimate | None, figure: str, total: bool) -> str:
    side = " total" if total else ""
    if estimate is None or estimate.value is None:
        return f'<td class="few{side}">none</td>'
    state = ""
    if estimate.ci_low is not None and estimate.ci_high is not None:  # the interval leaves zero out
        state = " better" if estimate.ci_low > 0 else " worse" if estimate.ci_high < 0 else ""
    sign = "+" if estimate.value > 0 else ""
    text = f"{sign}{_number(estimate.value, figure)}"
    return f'<td class="{(side + state).strip()}">{text}<small>{_interval(estimate, figure)}</small></td>'


def _p_value(p: float) -> str:
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"
