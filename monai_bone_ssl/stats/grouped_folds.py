"""Folds for cross-validation on images that come in groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["grouped_folds"]


def grouped_folds(
    labels: npt.NDArray[np.int64], groups: npt.NDArray[np.str_], n_folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Divide images into folds that keep groups whole and hold a like share of each class.

    Groups come in random order, those with the most uneven classes first. Each goes into the fold that leaves
    the classes spread most evenly over the folds; among equals, into the smallest. The folds are those of
    scikit-learn 1.9's StratifiedGroupKFold with shuffling; other versions of it shuffle otherwise.

    Parameters
    ----------
    labels
        Class of each image [n].
    groups
        Group of each image [n], such as the patient.
    n_folds
        Number of folds.
    seed
        Seed of the random order.

    Returns
    -------
    Fold of each image [n], from 0.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    names, members = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (members, codes), 1)
    order = np.random.RandomState(seed).permutation(len(names))
    order = order[np.argsort(-counts[order].std(axis=1), kind="stable")]
    totals = counts.sum(axis=0)
    filled = np.zeros((n_folds, len(classes)))
    each_fold = np.eye(n_folds)[:, :, None]
    fold_of_group = np.empty(len(names), dtype=np.int64)
    for group in order:
        trials = filled + each_fold * counts[group]  # [trial, fold, class]: the group in each fold in turn
        spreads = (trials / totals).std(axis=1).mean(axis=1)
        fold = _least(spreads.tolist(), filled.sum(axis=1).tolist())
        fold_of_group[group] = fold
        filled[fold] += counts[group]
    return fold_of_group[members]


def _least(spreads: list[float], sizes: list[float]) -> int:
    """The fold with the least spread; of those that are equal but for rounding, the one with fewer images."""
    best = 0
    for fold, (spread, size) in enumerate(zip(spreads, sizes, strict=True)):
        is_equal = abs(spread - spreads[best]) <= 1e-8 + 1e-5 * spreads[best]
        if spread < spreads[best] or (is_equal and size < sizes[best]):
            best = fold
    return best
