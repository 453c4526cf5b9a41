"""Which images are learnt from and which are predicted: one protocol for every row of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.data import PROTOCOL_FOLDS, PROTOCOL_SEEDS, LabelledDataset, splits
from monai_bone_ssl.training.measure.sample import Sample

__all__ = ["THRESHOLD", "EvaluationProtocol", "ProtocolFold", "make_protocol", "make_sample"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Probability from which every row calls an image positive. No image is left undecided: operating points
#: belong to a product, and no row gets to choose them.
THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class ProtocolFold:
    """Images to learn from and images to predict; no group is in both."""

    seed: int
    """Seed of the shuffle into folds."""
    number: int
    """Number among the folds of one seed, from 0."""
    train: Ints
    """Indices of the images to learn from [n]."""
    test: Ints
    """Indices of the images to predict [m]."""


@dataclass(frozen=True, eq=False)
class EvaluationProtocol:
    """Folds that predict every evaluated image once under each seed."""

    held_out: bool
    """Whether the data come with a split of their own."""
    evaluated: Ints
    """Indices [m] into the dataset's images, ascending."""
    folds: tuple[ProtocolFold, ...]
    """Folds, seed by seed."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds in their order."""
        return tuple(dict.fromkeys(fold.seed for fold in self.folds))

    def folds_of(self, seed: int) -> tuple[ProtocolFold, ...]:
        """Folds of one seed; their test images are the evaluated ones."""
        return tuple(fold for fold in self.folds if fold.seed == seed)

    def describe(self) -> str:
        """What is done, in a sentence or two."""
        if self.held_out:
            return (
                f"Held-out split as the data come: everything is fitted and chosen on the "
                f"{len(self.folds[0].train):,} images of the training split, then the "
                f"{len(self.evaluated):,} images of the validation split are predicted once."
            )
        seeds = ", ".join(map(str, self.seeds))
        return (
            f"Cross-validation: {PROTOCOL_FOLDS} folds that keep every group (patient) whole and the share "
            f"of positives alike, drawn anew under the seeds {seeds}. Every image is predicted by a model "
            "that saw no image of its group; everything is chosen inside the other folds. Each figure is the "
            "mean over the seeds."
        )


def make_protocol(dataset: LabelledDataset) -> EvaluationProtocol:
    """Train and valid where the data state a split, else grouped folds under every protocol seed.

    Parameters
    ----------
    dataset
        Labelled images; those without a split are left out where others have one.

    Raises
    ------
    ConfigError
        Where one of the two splits is empty, or a class has too few groups for the folds.
    """
    names = np.array([image.split or "" for image in dataset.images])
    if (names == "").all():
        folds = [
            ProtocolFold(seed, number, train.astype(np.int64), test.astype(np.int64))
            for seed in PROTOCOL_SEEDS
            for number, (train, test) in enumerate(splits(dataset, seed=seed))
        ]
        return EvaluationProtocol(held_out=False, evaluated=np.arange(len(dataset)), folds=tuple(folds))
    train, test = np.flatnonzero(names == "train"), np.flatnonzero(names == "valid")
    for split, indices in (("train", train), ("valid", test)):
        if not len(indices):
            text = (
                f"{dataset.source.name}: no image of the split {split}, expected train and valid, or no split"
            )
            raise ConfigError(ReasonCode.INVALID_DATA, text)
    return EvaluationProtocol(True, test, (ProtocolFold(PROTOCOL_SEEDS[0], 0, train, test),))


def make_sample(dataset: LabelledDataset, probabilities: Floats) -> Sample:
    """Labels and predictions of a dataset's n images, called positive from :data:`THRESHOLD` on.

    Parameters
    ----------
    dataset
        Evaluated images.
    probabilities
        Probability of the target for each image, float64 [n].
    """
    return Sample(
        labels=dataset.labels,
        probabilities=probabilities,
        thresholds=np.full(len(dataset), THRESHOLD),
        decisions=np.where(probabilities >= THRESHOLD, "positive", "negative"),
        groups=dataset.groups,
        parts=dataset.parts,
        cells=dataset.cells,
    )
