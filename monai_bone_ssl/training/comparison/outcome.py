"""What a comparison finds, as comparison.json and table.csv hold it: a row a model, a column a body part."""

from __future__ import annotations

from itertools import product
from typing import Literal

import msgspec

from monai_bone_ssl.files import csv_bytes
from monai_bone_ssl.training.measure.estimates import Estimate
from monai_bone_ssl.training.measure.metrics import (
    BinaryMetrics,
    MeanOverParts,
    Metrics,
    MetricsByPart,
)
from monai_bone_ssl.training.measure.paired_tests import PairedComparison

__all__ = [
    "ALL_IMAGES",
    "COMPARISON_SCHEMA_VERSION",
    "FIGURE_HEADINGS",
    "MEAN_OF_PARTS",
    "POINTING_HEADINGS",
    "DataSummary",
    "EfficiencyPoint",
    "Level",
    "ModelComparison",
    "PartCounts",
    "ProtocolSummary",
    "RowOutcome",
    "SuspectLabel",
    "table_csv",
]

#: Raised whenever a key of comparison.json changes its meaning.
COMPARISON_SCHEMA_VERSION = 1

#: Figures of the table and their headings, those of the literature's tables first.
FIGURE_HEADINGS = {
    "accuracy": "Accuracy",
    "auroc": "AUROC",
    "auroc_within_cells": "AUROC within cells of acquisition range and part",
    "balanced_accuracy": "Balanced accuracy",
    "kappa": "Cohen's kappa",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "sensitivity_at_specificity_85": "Sensitivity at 85 % specificity",
    "sensitivity_at_specificity_90": "Sensitivity at 90 % specificity",
    "ece": "Calibration error (ECE)",
}

#: Figures of where a row points, over all images with outlines, and their headings.
POINTING_HEADINGS = {
    "pointing_game": "Pointing game",
    "outlines_hit": "Outlines hit",
    "false_regions": "False regions an image",
    "sensitivity_at_0.1_false_regions": "Outlines hit at 0.1 false regions an image",
    "sensitivity_at_0.5_false_regions": "Outlines hit at 0.5",
    "sensitivity_at_1_false_regions": "Outlines hit at 1",
}

#: Columns beside the body parts, which are in lower case and so never have these names.
MEAN_OF_PARTS, ALL_IMAGES = "Mean of parts", "All"

#: What is counted: images, or studies, each with the mean probability of its images.
Level = Literal["image", "study"]


class PartCounts(msgspec.Struct, frozen=True):
    """Images of one body part."""

    train_positive: int
    """Positive images to learn from; in cross-validation all, as each is learnt from in the other folds."""
    train_negative: int
    """Negative images to learn from."""
    test_positive: int
    """Evaluated positive images."""
    test_negative: int
    """Evaluated negative images."""


class DataSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The labelled images."""

    name: str
    """Name of the data set."""
    licence: str
    """Terms of use."""
    reference: str
    """Publication, or who gave the data."""
    target: str
    """Condition that a positive label stands for."""
    digest: str
    """SHA-256 over all images and what is known of each: the same digest, the same data."""
    parts: dict[str, PartCounts]
    """Images by body part."""
    n_groups: int
    """Groups (patients) of the evaluated images."""
    n_studies: int | None
    """Studies of the evaluated images; None where studies are unknown."""


class ProtocolSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How every row was measured."""

    kind: Literal["held_out", "cross_validated"]
    """Whether the data came with a split of their own."""
    description: str
    """What was done, in a sentence or two."""
    seeds: tuple[int, ...]
    """Seeds of the shuffles into folds."""
    threshold: float
    """Probability from which every row calls an image positive."""
    probe_scope: str | None
    """Whether linear probes are one a part or one for all, and why; None where no row is a linear probe."""


class RowOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    """Name of the row, unique within a comparison."""
    description: str
    """What the row is, in a sentence."""
    seeds: tuple[int, ...]
    """Seeds that the figures are means over."""
    metrics: Metrics
    """Contract C4, as ``bone-ssl evaluate`` writes it."""
    mean_over_parts: MeanOverParts | None
    """Means of the parts' figures, image by image; None where no part has enough cases."""
    study_mean_over_parts: MeanOverParts | None
    """Means study by study; None also where studies are unknown."""
    against_baseline: PairedComparison | None
    """Image by image; None for the baseline itself."""
    study_against_baseline: PairedComparison | None
    """Study by study; None for the baseline itself, or where studies are unknown."""

    def metrics_at(self, level: Level) -> MetricsByPart:
        """Figures by image, or by study.

        Raises
        ------
        ValueError
            For studies where they are unknown.
        """
        if level == "image":
            return self.metrics
        if self.metrics.study_level is None:
            raise ValueError("studies are unknown")
        return self.metrics.study_level

    def mean_at(self, level: Level) -> MeanOverParts | None:
        """Means of the parts' figures, by image or by study; None where no part has enough cases."""
        return self.mean_over_parts if level == "image" else self.study_mean_over_parts

    def difference_at(self, level: Level) -> PairedComparison | None:
        """Comparison with the baseline, by image or by study; None for the baseline itself."""
        return self.against_baseline if level == "image" else self.study_against_baseline

    def estimate(self, figure: str, column: str, level: Level = "image") -> Estimate:
        """One figure of the row.

        Parameters
        ----------
        figure
            Key of :data:`FIGURE_HEADINGS`.
        column
            One of :attr:`ModelComparison.columns`.
        level
            Image by image, or study by study where studies are known.

        Raises
        ------
        ValueError
            For studies where they are unknown.
        """
        block: BinaryMetrics | MeanOverParts | None = self.metrics_at(level)
        if column == MEAN_OF_PARTS:
            block = self.mean_at(level)
        elif column != ALL_IMAGES:
            block = self.metrics_at(level).per_part[column]
        if block is None:
            return Estimate(None, None, None, "no part has enough positive and negative cases")
        value: Estimate = getattr(block, figure)
        return value

    def pointing(self, figure: str) -> Estimate:
        """One figure of where the row points, a key of :data:`POINTING_HEADINGS`."""
        where = self.metrics.localisation
        nothing = Estimate(None, None, None, "nothing is outlined, or the row does not point")
        return nothing if where is None else where.estimates().get(figure, nothing)


class EfficiencyPoint(msgspec.Struct, frozen=True):
    """Figures of a row that learnt from a share of a fold's training studies."""

    row: str
    """Name of the row."""
    share: float
    """Share of the training studies that was asked for, above 0 to 1; the counts tell what was taken."""
    seed: int
    """Seed of the draw of the share."""
    fold: int
    """Number of the fold, from 0, under the protocol's first seed."""
    n_studies: int
    """Studies that were learnt from, or groups where studies are unknown."""
    n_images: int
    """Images that were learnt from."""
    accuracy: float
    """Accuracy on the fold's test images, 0 to 1."""
    auroc: float | None
    """AUROC on the fold's test images, 0 to 1; None where these are of one class."""


class SuspectLabel(msgspec.Struct, frozen=True):
    """An image whose nearest neighbours of other groups disagree with its label."""

    path: str
    """Path of the image, as the data list it."""
    label: int
    """Label given, 0 or 1."""
    part: str
    """Body part."""
    probability_of_label: float
    """Share of the neighbours' votes for the label given, 0 to 1."""


class ModelComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a comparison found."""

    schema_version: int
    """Version of the keys, :data:`COMPARISON_SCHEMA_VERSION`."""
    data: DataSummary
    """Images that were learnt from and evaluated."""
    protocol: ProtocolSummary
    """How every row was measured."""
    baseline: str
    """Name of the row that all others are compared with."""
    rows: tuple[RowOutcome, ...]
    """Rows in the table's order."""
    label_efficiency: tuple[EfficiencyPoint, ...]
    """Figures on shares of the training studies; empty where they were not asked for."""
    suspect_labels: tuple[SuspectLabel, ...]
    """Images whose neighbours speak most against their label, worst first; label_audit.csv has all images."""
    command: str
    """Command that was typed."""
    software: dict[str, str]
    """Versions by distribution."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Body parts, then :data:`MEAN_OF_PARTS` and :data:`ALL_IMAGES`; one part alone is all images."""
        parts = tuple(self.rows[0].metrics.per_part)
        return (*parts, MEAN_OF_PARTS, ALL_IMAGES) if len(parts) > 1 else (ALL_IMAGES,)

    @property
    def figures(self) -> dict[str, str]:
        """Figures that some row has a value of, with their headings."""
        blocks = [row.metrics for row in self.rows]
        return {
            figure: heading
            for figure, heading in FIGURE_HEADINGS.items()
            if any(getattr(block, figure).value is not None for block in blocks)
        }

    @property
    def points(self) -> bool:
        """Whether some row points at outlined findings."""
        return any(row.metrics.localisation is not None for row in self.rows)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Image, and study where studies are known."""
        return ("image",) if self.rows[0].metrics.study_level is None else ("image", "study")

    def row(self, name: str) -> RowOutcome:
        """The row of a name."""
        return next(row for row in self.rows if row.name == name)


def table_csv(comparison: ModelComparison) -> bytes:
    """The whole table: a line for each level, figure and row; for each column the value and its interval.

    Where findings are outlined, lines follow of where each row points, with values for all images alone.

    Figures are shares in [0, 1] (kappa in [-1, 1]); an undefined one is empty.
    """
    columns = comparison.columns
    header = ["level", "figure", "row", *(f"{c}{end}" for c in columns for end in ("", " low", " high"))]
    lines = []
    for level, figure, row in product(comparison.levels, FIGURE_HEADINGS, comparison.rows):
        estimates = [row.estimate(figure, column, level) for column in columns]
        values = (value for e in estimates for value in (e.value, e.ci_low, e.ci_high))
        lines.append((level, figure, row.name, *values))
    blank = [None] * 3 * (len(columns) - 1)  # outlined findings are not counted by part
    for figure, row in product(POINTING_HEADINGS if comparison.points else (), comparison.rows):
        e = row.pointing(figure)
        lines.append(("image", figure, row.name, *blank, e.value, e.ci_low, e.ci_high))
    return csv_bytes(header, lines)
