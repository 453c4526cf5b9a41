"""The table: one row a model, one column a part, then the mean over the parts and all images."""

from __future__ import annotations

import csv
import io
from typing import Literal

from monai_bone_ssl.training.comparison.outcome import Comparison, RowOutcome
from monai_bone_ssl.training.measure.metrics import BinaryMetrics, Estimate, MeanOverParts, MetricsByPart

__all__ = ["ALL", "FIGURES", "MEAN", "Level", "cell", "columns", "levels", "table_csv"]

Level = Literal["image", "study"]

#: Figures of the table and their headings, the paper's first.
FIGURES = {
    "accuracy": "Accuracy",
    "auroc": "AUROC",
    "balanced_accuracy": "Balanced accuracy",
    "kappa": "Cohen's kappa",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ece": "Calibration error (ECE)",
}

#: Columns beside the parts. No part is called so: part names are in lower case.
MEAN, ALL = "Mean of parts", "All"


def columns(comparison: Comparison) -> tuple[str, ...]:
    """The parts, then :data:`MEAN` and :data:`ALL`; one part alone is all there is."""
    parts = tuple(comparison.rows[0].metrics.per_part)
    return (*parts, MEAN, ALL) if len(parts) > 1 else (ALL,)


def cell(row: RowOutcome, figure: str, column: str, level: Level = "image") -> Estimate:
    """One figure of one row.

    Parameters
    ----------
    row, figure, column
        Of the comparison, of :data:`FIGURES`, and of :func:`columns`.
    level
        Image by image or study by study; the latter only where studies are known.
    """
    block = _block(row, column, level)
    if block is None:
        return Estimate(None, None, None, "no part has enough positive and negative cases")
    value: Estimate = getattr(block, figure)
    return value


def _block(row: RowOutcome, column: str, level: Level) -> BinaryMetrics | MeanOverParts | None:
    metrics: MetricsByPart | None = row.metrics if level == "image" else row.metrics.study_level
    if metrics is None or column == ALL:
        return metrics
    if column == MEAN:
        return row.mean_over_parts if level == "image" else row.study_mean_over_parts
    return metrics.per_part[column]


def levels(comparison: Comparison) -> tuple[Level, ...]:
    """Image, and study where studies are known."""
    return ("image",) if comparison.rows[0].metrics.study_level is None else ("image", "study")


def table_csv(comparison: Comparison) -> bytes:
    """The whole table: a line for each level, figure and row; for each column the value and its interval.

    Figures are shares in [0, 1] (kappa in [-1, 1]); an undefined one is empty.
    """
    names = columns(comparison)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("level", "figure", "row", *(f"{c}{end}" for c in names for end in ("", " low", " high")))
    )
    for level in levels(comparison):
        for figure in FIGURES:
            for row in comparison.rows:
                cells = [cell(row, figure, column, level) for column in names]
                writer.writerow(
                    (level, figure, row.name, *(x for e in cells for x in (e.value, e.ci_low, e.ci_high)))
                )
    return text.getvalue().encode()
