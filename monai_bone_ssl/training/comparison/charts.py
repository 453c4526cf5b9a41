"""The charts of a comparison's page, each with its caption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from monai_bone_ssl.training.comparison import plots
from monai_bone_ssl.training.comparison.measure import Runs
from monai_bone_ssl.training.comparison.outcome import Comparison
from monai_bone_ssl.training.comparison.table import FIGURES
from monai_bone_ssl.training.measure.plots import to_png

__all__ = ["Chart", "make_charts"]


@dataclass(frozen=True)
class Chart:
    """A picture of the figures."""

    title: str
    png: bytes
    """The picture, 200 dots an inch."""
    caption: str


def make_charts(comparison: Comparison, runs: Mapping[str, Runs]) -> list[Chart]:
    """Bars, ROC curves, reliability and, where it was measured, label efficiency.

    Parameters
    ----------
    comparison
        Everything measured.
    runs
        What it was measured on, by row.
    """
    samples = {name: next(iter(by_seed.values())) for name, by_seed in runs.items()}  # of the first seed
    charts = [
        Chart(
            "Accuracy by part",
            to_png(plots.bars_figure(comparison, "accuracy", FIGURES["accuracy"])),
            "A probability from 0.5 on counts as positive.",
        ),
        Chart(
            "ROC curves",
            to_png(plots.roc_figure(comparison, samples)),
            "All evaluated images, predictions under the first seed; the AUROCs are means over the seeds.",
        ),
        Chart(
            "Reliability",
            to_png(plots.reliability_figure(comparison, samples)),
            "Observed share of positives in 15 bins of the probability, first seed; lines: 95 % interval.",
        ),
    ]
    if comparison.label_efficiency:
        charts.append(
            Chart(
                "Label efficiency",
                to_png(plots.efficiency_figure(comparison)),
                "The same test images, predicted after learning from a share of the training studies. Dots: "
                "draws of the share, each the mean over the folds of the first seed; lines: their mean.",
            )
        )
    return charts
