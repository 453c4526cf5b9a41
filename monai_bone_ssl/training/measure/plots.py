"""Plots of an evaluation, each a :class:`matplotlib.figure.Figure` of its own.

They are drawn without pyplot, and so without a display or global state. Colours: Okabe & Ito 2008, which
readers with every common kind of colour blindness tell apart; lines differ in style as well.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap, percentile_interval, ratio
from monai_bone_ssl.training.measure.estimates import (
    MIN_CASES_TO_MEASURE,
    N_BINS,
    Estimate,
    probability_bins,
)
from monai_bone_ssl.training.measure.metrics import BinaryMetrics, Metrics
from monai_bone_ssl.training.measure.sample import Sample

__all__ = [
    "COLOURS",
    "LEGEND",
    "LINES",
    "draw_bar",
    "draw_reliability",
    "frame_roc",
    "interval_text",
    "new_figure",
    "parts_figure",
    "probability_figure",
    "reliability_figure",
    "roc_figure",
    "strip",
    "to_png",
]

Floats = NDArray[np.float64]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "0.6"
#: Title of the legend beside ROC curves.
LEGEND = "AUROC (95 % interval)"
#: Colours and line styles of curves in one plot, used in this order.
COLOURS = ("#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#882255")
LINES = ("--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 3)))
# The band is looked at and not quoted, so that fewer resamples are enough.
_BAND_RESAMPLES = 500


def roc_figure(sample: Sample, metrics: Metrics) -> Figure:
    """ROC curve over all images with a 95 % band, and one curve for each part with enough cases."""
    figure, axes = new_figure(5.6, 5.4)
    if 0 < metrics.n_positive < metrics.n:
        _draw_roc_band(axes, sample)
        _draw_roc(axes, sample, f"all: {interval_text(metrics.auroc)}", _BLUE, "-", 2.2)
    shown = [part for part, figures in metrics.per_part.items() if _has_enough(figures)]
    for i, part in enumerate(shown):
        style = i % len(COLOURS)
        label = f"{part}: {interval_text(metrics.per_part[part].auroc)}"
        of_part = sample.take(sample.parts == part)
        _draw_roc(axes, of_part, label, COLOURS[style], LINES[style], 1.3)
    if frame_roc(axes):
        axes.legend(title=LEGEND, loc="lower right", frameon=False, fontsize=9)
    return figure


def reliability_figure(sample: Sample, metrics: Metrics) -> Figure:
    """Observed share of positives against the mean probability by bin; below, the images in each bin."""
    figure = Figure(figsize=(5.4, 6.4), layout="constrained")
    axes, counts_axes = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    draw_reliability(axes, sample, _BLUE)
    axes.set(ylabel="Observed share of positives")
    axes.text(0.03, 0.95, f"ECE {interval_text(metrics.ece)}", transform=axes.transAxes, va="top")
    counts = np.bincount(probability_bins(sample.probabilities), minlength=N_BINS)
    centres = (np.arange(N_BINS) + 0.5) / N_BINS
    counts_axes.bar(centres, counts, width=0.9 / N_BINS, color=_GREY)
    counts_axes.set(xlabel="Probability", ylabel="Images", yscale="log", ylim=(0.7, None))
    strip(axes, counts_axes)
    return figure


def probability_figure(sample: Sample, points: Mapping[str, OperatingPoints]) -> Figure:
    """Histograms of the probability by label, one panel a part, with the part's two operating points.

    Parameters
    ----------
    sample
        Labels and predictions.
    points
        Operating points of each part in ``sample``.
    """
    parts = np.unique(sample.parts).tolist()
    n_columns = min(3, len(parts))
    n_rows = -(-len(parts) // n_columns)
    figure = Figure(figsize=(1.2 + 3.1 * n_columns, 0.7 + 2.4 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, part in zip(panels, parts, strict=False):
        _draw_histograms(axes, sample.take(sample.parts == part), points[part])
        axes.tick_params(labelbottom=True)  # the grid may have no panel below
    for axes in panels[len(parts) :]:
        axes.remove()
    strip(*panels[: len(parts)])
    figure.supxlabel("Probability (in brackets: positive / negative images)", fontsize=10)
    figure.supylabel("Share of the images of that label", fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def parts_figure(metrics: Metrics) -> Figure:
    """Bars of four figures by part, with 95 % intervals; pale where a part has too few cases."""
    rows: dict[str, BinaryMetrics] = {"all": metrics, **metrics.per_part}
    panels = ("auroc", "sensitivity", "specificity", "kappa")
    titles = ("AUROC", "Sensitivity", "Specificity", "Cohen's kappa")
    figure = Figure(figsize=(11, 1.4 + 0.42 * len(rows)), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True)
    for axes, panel, title in zip(grid, panels, titles, strict=True):
        _draw_bars(axes, [getattr(figures, panel) for figures in rows.values()], list(rows.values()))
        axes.set_title(title, fontsize=11)
    names = [_cases(name, figures.n, figures.n_positive) for name, figures in rows.items()]
    grid[0].set_yticks(range(len(rows)), names)
    grid[0].invert_yaxis()
    for axes in grid:
        axes.tick_params(axis="y", length=0)
    strip(*grid)
    figure.supxlabel(
        "In brackets: positive / negative images. Lines: 95 % interval. "
        f"Pale: fewer than {MIN_CASES_TO_MEASURE} of either.",
        fontsize=9,
        color="0.35",
    )
    return figure


def draw_bar(axes: Axes, y: int, estimate: Estimate, colour: str, *, pale: bool = False) -> None:
    """A bar of one figure at a height, with the 95 % interval as a line; a word where it is undefined."""
    if estimate.value is None:
        axes.text(0.02, y, "undefined", va="center", fontsize=8, color="0.35")
        return
    axes.barh(y, estimate.value, height=0.65, color=colour, alpha=0.3 if pale else 0.85)
    if estimate.ci_low is not None and estimate.ci_high is not None:
        axes.hlines(y, estimate.ci_low, estimate.ci_high, color="black", linewidth=1.2)


def frame_roc(axes: Axes) -> bool:
    """Add chance line, labels and limits to axes with ROC curves.

    Returns
    -------
    Whether there is a curve, and so a legend to draw.
    """
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, zorder=1)
    axes.set(xlabel="1 \N{MINUS SIGN} specificity", ylabel="Sensitivity", aspect="equal")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    curves = bool(axes.get_legend_handles_labels()[0])
    if not curves:
        axes.text(0.5, 0.3, "Undefined: images of one class only", ha="center")
    return curves


def draw_reliability(axes: Axes, sample: Sample, colour: str) -> None:
    """Draw the observed share of positives against the mean probability of each bin, with 95 % intervals."""
    in_bin = (probability_bins(sample.probabilities)[:, None] == np.arange(N_BINS)).astype(np.float64)
    counts = in_bin.sum(axis=0)
    used = counts > 0
    in_bin, n = in_bin[:, used], counts[used]
    positive_in_bin = in_bin * sample.labels[:, None]
    observed = positive_in_bin.sum(axis=0) / n
    mean_probability = sample.probabilities @ in_bin / n
    resampled = cluster_bootstrap(
        lambda weights: ratio(weights @ positive_in_bin, weights @ in_bin), sample.groups
    )
    low, high = percentile_interval(resampled)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8)
    axes.vlines(mean_probability, low, high, color=colour, linewidth=1.4)
    axes.plot(mean_probability, observed, "o", color=colour, markersize=6)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))


def _draw_roc(
    axes: Axes, sample: Sample, label: str, colour: str, line: str | tuple[int, tuple[int, ...]], width: float
) -> None:
    false_positive_rate, sensitivity, _ = roc_curve(sample.labels, sample.probabilities)
    axes.plot(false_positive_rate, sensitivity, color=colour, linestyle=line, linewidth=width, label=label)


def _draw_roc_band(axes: Axes, sample: Sample) -> None:
    grid = np.linspace(0, 1, 201)
    resampled = cluster_bootstrap(
        partial(_sensitivity_on_grid, sample, grid), sample.groups, n_resamples=_BAND_RESAMPLES
    )
    low, high = percentile_interval(resampled)
    axes.fill_between(grid, low, high, color=_BLUE, alpha=0.18, linewidth=0)


def _sensitivity_on_grid(sample: Sample, grid: Floats, weights: Floats) -> Floats:
    """Sensitivity at each 1 - specificity of ``grid``, for each row of weights: [b, grid]."""
    curves = np.full((len(weights), len(grid)), np.nan)
    for curve, row in zip(curves, weights, strict=True):
        drawn = row > 0
        if len(np.unique(sample.labels[drawn])) == 2:
            x, y, _ = roc_curve(sample.labels[drawn], sample.probabilities[drawn], sample_weight=row[drawn])
            curve[:] = np.interp(grid, x, y)
    return curves


def _draw_histograms(axes: Axes, sample: Sample, points: OperatingPoints) -> None:
    axes.axvspan(
        points.high_sensitivity,
        points.high_specificity,
        color="0.9",
        linewidth=0,
        label="called indeterminate",
    )
    for label, name, colour, line in (
        (0, "labelled negative", _BLUE, "-"),
        (1, "labelled positive", _ORANGE, "--"),
    ):
        probabilities = sample.probabilities[sample.labels == label]
        share = np.full(len(probabilities), 1 / max(1, len(probabilities)))
        heights, edges = np.histogram(probabilities, bins=25, range=(0, 1), weights=share)
        axes.stairs(heights, edges, color=colour, linestyle=line, linewidth=1.5, label=name)
    for point in (points.high_sensitivity, points.high_specificity):
        axes.axvline(point, color="0.35", linewidth=0.8)
    axes.set(xlim=(0, 1))
    axes.set_title(_cases(str(sample.parts[0]), len(sample), int(sample.labels.sum())), fontsize=10)


def _draw_bars(axes: Axes, estimates: Sequence[Estimate], rows: Sequence[BinaryMetrics]) -> None:
    for y, (estimate, figures) in enumerate(zip(estimates, rows, strict=True)):
        draw_bar(axes, y, estimate, _BLUE, pale=not _has_enough(figures))
    axes.set(xlim=(min(0.0, axes.get_xlim()[0]), 1.0), xticks=(0, 0.25, 0.5, 0.75, 1))


def _cases(name: str, n: int, n_positive: int) -> str:
    return f"{name}  ({n_positive} / {n - n_positive})"


def _has_enough(figures: BinaryMetrics) -> bool:
    return min(figures.n_positive, figures.n - figures.n_positive) >= MIN_CASES_TO_MEASURE


def interval_text(estimate: Estimate) -> str:
    """A figure and its interval as text."""
    if estimate.value is None:
        return "undefined"
    if estimate.ci_low is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.ci_low:.3f} to {estimate.ci_high:.3f})"


def to_png(figure: Figure) -> bytes:
    """Content of a PNG file with the plot, 200 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one panel, and its axes; width and height in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    strip(axes)
    return figure, axes


def strip(*panels: Axes) -> None:
    """Remove the lines above and to the right of panels."""
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
