"""Grouped folds against scikit-learn's, and what they promise."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from monai_bone_ssl.stats.grouped_folds import grouped_folds


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("n", "n_groups", "n_classes", "n_folds"), [
    (60, 60, 2, 5), (300, 120, 2, 5), (300, 40, 2, 4), (500, 499, 2, 10), (400, 90, 4, 3),
])  # fmt: skip
def test_folds_are_scikit_learns(seed: int, n: int, n_groups: int, n_classes: int, n_folds: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n_groups, n).astype(str)
    labels = np.minimum(rng.geometric(0.6, n) - 1, n_classes - 1)
    expected = np.empty(n, dtype=np.int64)
    reference = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings(action="ignore"):  # of rare classes
        for fold, (_, test) in enumerate(reference.split(labels, labels, groups)):
            expected[test] = fold
    np.testing.assert_array_equal(grouped_folds(labels, groups, n_folds, seed), expected)


@pytest.mark.parametrize("seed", range(5))
def test_folds_keep_groups_whole_and_classes_even(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random(200) < 0.3).astype(np.int64)
    groups = np.repeat(np.arange(100), 2).astype(str)
    folds = grouped_folds(labels, groups, 5, seed)
    assert (folds[::2] == folds[1::2]).all()
    positives = np.bincount(folds[labels == 1], minlength=5)
    assert np.ptp(positives) <= 2
    assert np.ptp(np.bincount(folds)) <= 4
    assert (folds != grouped_folds(labels, groups, 5, seed + 1)).any()
