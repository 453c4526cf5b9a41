"""The charts of a comparison's page, each with its caption: every row in one colour throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from sklearn.metrics import roc_curve

from monai_bone_ssl.training.comparison.measure import Runs
from monai_bone_ssl.training.comparison.outcome import (
    ALL_IMAGES,
    MEAN_OF_PARTS,
    EfficiencyPoint,
    ModelComparison,
)
from monai_bone_ssl.training.measure.plots import (
    COLOURS,
    LEGEND,
    LINES,
    draw_bar,
    draw_reliability,
    frame_roc,
    interval_text,
    new_figure,
    strip,
    to_png,
)
from monai_bone_ssl.training.measure.sample import Sample

__all__ = ["Chart", "make_charts"]

_CSS_PIXELS = 96  # an inch, https://www.w3.org/TR/css-values-3/#absolute-lengths


@dataclass(frozen=True)
class Chart:
    """A picture of the figures."""

    title: str
    """Heading."""
    png: bytes
    """The picture as a PNG file, 200 dots an inch."""
    width: int
    """Width at which the picture is shown, in CSS pixels."""
    caption: str
    """What the chart shows, in a sentence or two."""


def make_charts(comparison: ModelComparison, runs: Mapping[str, Runs]) -> list[Chart]:
    """Bars, ROC curves, reliability and, where it was measured, label efficiency.

    Parameters
    ----------
    comparison
        Everything measured.
    runs
        Predictions that it was measured on, by row and seed.
    """
    samples = {name: next(iter(by_seed.values())) for name, by_seed in runs.items()}  # of the first seed
    charts = [
        _chart(
            "Accuracy by part", _accuracy_bars(comparison), "A probability from 0.5 on counts as positive."
        ),
        _chart(
            "ROC curves",
            _roc_curves(comparison, samples),
            "All evaluated images, predictions under the first seed; the AUROCs are means over the seeds.",
        ),
        _chart(
            "Reliability",
            _reliability(comparison, samples),
            "Observed share of positives in 15 bins of the probability, first seed; lines: 95 % interval.",
        ),
    ]
    if comparison.label_efficiency:
        caption = (
            "The same test images, predicted after learning from a share of the training studies. Dots: "
            "draws of the share, each the mean over the folds of the first seed; lines: their mean."
        )
        charts.append(_chart("Label efficiency", _efficiency_curves(comparison), caption))
    return charts


def _chart(title: str, figure: Figure, caption: str) -> Chart:
    return Chart(title, to_png(figure), round(_CSS_PIXELS * figure.get_figwidth()), caption)


def _roc_curves(comparison: ModelComparison, samples: Mapping[str, Sample]) -> Figure:
    """ROC curves of all rows over all images, from predictions by row."""
    figure, axes = new_figure(9.4, 4.8)
    for i, row in enumerate(comparison.rows):
        sample = samples[row.name]
        if 0 < sample.labels.sum() < len(sample):
            x, y, _ = roc_curve(sample.labels, sample.probabilities)
            label = f"{_short(row.name)}: {interval_text(row.metrics.auroc)}"
            axes.plot(x, y, color=_colour(i), linestyle=LINES[i % len(LINES)], linewidth=1.5, label=label)
    if frame_roc(axes):
        figure.legend(title=LEGEND, loc="outside right center", frameon=False, fontsize=9)
    return figure


def _reliability(comparison: ModelComparison, samples: Mapping[str, Sample]) -> Figure:
    """Observed share of positives against the probability, one panel a row, from predictions by row."""
    figure, panels = _panels(len(comparison.rows), 4, (2.5, 2.8))
    for i, (axes, row) in enumerate(zip(panels, comparison.rows, strict=True)):
        draw_reliability(axes, samples[row.name], _colour(i))
        axes.set_aspect("equal")
        axes.set_title(f"{_short(row.name)}\nECE {interval_text(row.metrics.ece)}", fontsize=8.5)
    figure.supxlabel("Probability", fontsize=10)
    figure.supylabel("Observed share of positives", fontsize=10)
    return figure


def _accuracy_bars(comparison: ModelComparison) -> Figure:
    """Bars of accuracy by row, one panel a column of the table, with 95 % intervals."""
    columns = comparison.columns
    figure, panels = _panels(len(columns), 5, (1.9, 0.6 + 0.26 * len(comparison.rows)), sharey=True)
    for axes, column in zip(panels, columns, strict=True):
        for i, row in enumerate(comparison.rows):
            draw_bar(axes, i, row.estimate("accuracy", column), _colour(i))
        axes.set_title(column if column in (MEAN_OF_PARTS, ALL_IMAGES) else column.capitalize(), fontsize=10)
        axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(
        range(len(comparison.rows)), [_short(row.name) for row in comparison.rows], fontsize=9
    )
    panels[0].invert_yaxis()
    figure.supxlabel("Accuracy (lines: 95 % interval)", fontsize=10)
    return figure


def _efficiency_curves(comparison: ModelComparison) -> Figure:
    """Accuracy and AUROC against the share of the training studies, a line a row.

    Each dot is the mean over the folds for one draw of the share, the line runs through the dots' means.
    """
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    points = comparison.label_efficiency
    shares = sorted({point.share for point in points})
    measured = {point.row for point in points}
    for axes, name, title in zip(panels, ("accuracy", "auroc"), ("Accuracy", "AUROC"), strict=True):
        for i, row in enumerate(row.name for row in comparison.rows):
            if row not in measured:
                continue
            dots = np.array([_over_folds(points, row, share, name) for share in shares])  # [shares, seeds]
            axes.plot(shares, dots, ".", color=_colour(i), alpha=0.5)
            line = LINES[i % len(LINES)]
            axes.plot(shares, dots.mean(axis=1), color=_colour(i), linestyle=line, label=_short(row))
        axes.set(xscale="log", xlabel="Share of the training studies", ylabel=title)
        axes.xaxis.set_major_locator(FixedLocator(shares))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{100 * share:g} %" for share in shares])
    strip(*panels)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _over_folds(points: Sequence[EfficiencyPoint], row: str, share: float, name: str) -> list[float]:
    """Mean of a figure over the folds that define it, for each seed."""
    own = [point for point in points if point.row == row and point.share == share]
    means = []
    for seed in sorted({point.seed for point in own}):
        values = [getattr(point, name) for point in own if point.seed == seed]
        defined = [value for value in values if value is not None]
        means.append(float(np.mean(defined)) if defined else np.nan)
    return means


def _panels(
    count: int, widest: int, size: tuple[float, float], *, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels of a size in inches, at most ``widest`` beside each other."""
    n_columns = min(widest, count)
    n_rows = -(-count // n_columns)
    width, height = size
    figure = Figure(figsize=(1.6 + width * n_columns, 0.6 + height * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=sharey).ravel().tolist()
    for axes in grid[count:]:
        axes.remove()
    strip(*grid[:count])
    return figure, grid[:count]


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _short(name: str) -> str:
    """A name that fits beside a panel; a dollar would start mathematics."""
    return (name if len(name) <= 32 else f"{name[:31]}…").replace("$", r"\$")
