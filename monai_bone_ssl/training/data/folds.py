"""Folds of the evaluation protocol: groups kept whole, or a whole acquisition range left out at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.stats.grouped_folds import grouped_folds
from monai_bone_ssl.training.data.dataset import LabelledDataset
from monai_bone_ssl.training.data.tables import invalid_data

__all__ = ["PROTOCOL_FOLDS", "PROTOCOL_SEEDS", "TrainTest", "range_splits", "splits"]

#: The evaluation protocol: so many grouped folds under each seed, figures averaged over the three seeds.
PROTOCOL_FOLDS = 5
PROTOCOL_SEEDS = (0, 1, 2)

#: Indices of the images to learn from, and of those to predict.
TrainTest = tuple[NDArray[np.int64], NDArray[np.int64]]


def splits(dataset: LabelledDataset, n_splits: int = PROTOCOL_FOLDS, seed: int = 0) -> Iterator[TrainTest]:
    """Folds that keep every group whole and the share of positives alike.

    Parameters
    ----------
    dataset
        Images to split.
    n_splits
        Number of folds.
    seed
        Seed of the shuffle; the protocol uses each of :data:`PROTOCOL_SEEDS`.

    Yields
    ------
    train, test
        Indices into ``dataset.images``; every image is in one test fold.

    Raises
    ------
    ConfigError
        Where a class has fewer groups than there are folds.
    """
    labels, groups = dataset.labels, dataset.groups
    for label, name in ((1, "positive"), (0, "negative")):
        n_groups = len(set(groups[labels == label]))
        if n_groups < n_splits:
            raise invalid_data(
                f"{dataset.source.name}: {n_groups} groups with a {name} image, "
                f"expected at least {n_splits} for {n_splits} folds"
            )
    folds = grouped_folds(labels, groups, n_splits, seed)
    for fold in range(n_splits):
        yield np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)


def range_splits(dataset: LabelledDataset) -> Iterator[TrainTest]:
    """Folds that leave out one acquisition range at a time, as if its site or device had not been seen.

    A group with images in several ranges is learnt from in none of their folds.

    Parameters
    ----------
    dataset
        Images with acquisition ranges.

    Yields
    ------
    train, test
        Indices into ``dataset.images``; every image is in one test fold.

    Raises
    ------
    ConfigError
        Where the images have no ranges, or too few positive or negative images are left outside a range.
    """
    ranges, labels, groups = dataset.ranges, dataset.labels, dataset.groups
    if ranges is None:
        raise invalid_data(f"{dataset.source.name}: no acquisition ranges, expected at least two")
    for name in np.unique(ranges):
        test = ranges == name
        train = ~np.isin(groups, groups[test])
        if len(np.unique(labels[train])) < 2:
            raise invalid_data(
                f"{dataset.source.name}: without acquisition range {name} and its patients, the images are "
                "of one class, expected positive and negative ones"
            )
        yield np.flatnonzero(train), np.flatnonzero(test)
