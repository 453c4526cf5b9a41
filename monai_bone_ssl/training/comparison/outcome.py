"""What a comparison finds, as comparison.json holds it."""

from __future__ import annotations

from typing import Literal

import msgspec

from monai_bone_ssl.training.measure.metrics import MeanOverParts, Metrics
from monai_bone_ssl.training.measure.paired_tests import PairedComparison

__all__ = [
    "SCHEMA_VERSION",
    "Comparison",
    "DataSummary",
    "EfficiencyPoint",
    "PartCounts",
    "ProtocolSummary",
    "RowOutcome",
    "SuspectLabel",
]

#: Raised whenever a key of comparison.json changes its meaning.
SCHEMA_VERSION = 1


class PartCounts(msgspec.Struct, frozen=True):
    """Images of one body part."""

    train_positive: int
    """Images to learn from; under cross-validation all images, as each is learnt from in the other folds."""
    train_negative: int
    test_positive: int
    """Evaluated images."""
    test_negative: int


class DataSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The labelled images."""

    name: str
    licence: str
    """Terms of use."""
    reference: str
    target: str
    """What a positive label means."""
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
    threshold: float
    """Probability from which every row calls an image positive."""
    probe_scope: str | None
    """Whether linear probes are one a part or one for all, and why; None where no row is a linear probe."""


class RowOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    description: str
    """What the row is, in a sentence."""
    seeds: tuple[int, ...]
    """Seeds that the figures are means over."""
    metrics: Metrics
    """Contract C4, as ``bone-ssl evaluate`` writes it."""
    mean_over_parts: MeanOverParts | None
    study_mean_over_parts: MeanOverParts | None
    against_baseline: PairedComparison | None
    """Image by image; None for the baseline itself."""
    study_against_baseline: PairedComparison | None
    """Study by study; None for the baseline itself, or where studies are unknown."""


class EfficiencyPoint(msgspec.Struct, frozen=True):
    """Figures of a row that learnt from a share of a fold's training studies."""

    row: str
    """Its name."""
    share: float
    """As asked for; the counts tell what was taken."""
    seed: int
    """Of the draw of the share."""
    fold: int
    """Of the protocol's first seed."""
    n_studies: int
    """Studies that were learnt from, or groups where studies are unknown."""
    n_images: int
    """Images that were learnt from."""
    accuracy: float
    """On the fold's test images."""
    auroc: float | None
    """None where the fold's test images are of one class."""


class SuspectLabel(msgspec.Struct, frozen=True):
    """An image whose nearest neighbours of other groups disagree with its label."""

    path: str
    """As the data list it."""
    label: int
    part: str
    probability_of_label: float
    """Share of the neighbours' votes for the label given."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a comparison found."""

    schema_version: int
    data: DataSummary
    protocol: ProtocolSummary
    baseline: str
    """Name of the row that all others are compared with."""
    rows: tuple[RowOutcome, ...]
    label_efficiency: tuple[EfficiencyPoint, ...]
    """Empty where it was not asked for."""
    suspect_labels: tuple[SuspectLabel, ...]
    """Images whose neighbours speak most against their label, worst first; all of them are in
    label_audit.csv."""
    command: str
    """What was typed."""
    software: dict[str, str]
    """Versions by distribution."""

    def row(self, name: str) -> RowOutcome:
        """The row of a name."""
        return next(row for row in self.rows if row.name == name)
