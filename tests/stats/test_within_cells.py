"""AUROC within cells, against a naive version and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from monai_bone_ssl.stats.within_cells import (
    MIN_CASES_IN_CELL,
    auroc_within_cells,
    weighted_auroc_within_cells,
)


def _made(seed: int, n: int = 300):
    """Scores with many ties, labels, and cells of which the last two have too few cases of a class."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 6, n)
    labels = rng.integers(0, 2, n)
    labels[cells == 4] = 0
    fewer = np.flatnonzero((cells == 5) & (labels == 1))[MIN_CASES_IN_CELL - 1 :]
    labels[fewer] = 0
    scores = np.round(labels + rng.normal(size=n) + cells, 1)
    return scores, labels, np.array([f"cell{cell}" for cell in cells])


def _pairs(scores, labels, cells):
    """The definition: the share of (positive, negative) pairs in the right order, by cell."""
    areas, sizes = [], []
    for cell in sorted(set(cells)):
        positive = [s for s, y, c in zip(scores, labels, cells, strict=True) if c == cell and y == 1]
        negative = [s for s, y, c in zip(scores, labels, cells, strict=True) if c == cell and y == 0]
        if min(len(positive), len(negative)) >= MIN_CASES_IN_CELL:
            wins = sum((p > q) + 0.5 * (p == q) for p in positive for q in negative)
            areas.append(wins / len(positive) / len(negative))
            sizes.append(min(len(positive), len(negative)))
    return np.average(areas, weights=sizes)


@pytest.mark.parametrize("seed", range(3))
def test_the_naive_version_agrees(seed: int) -> None:
    scores, labels, cells = _made(seed)
    assert auroc_within_cells(scores, labels, cells) == pytest.approx(
        _pairs(scores, labels, cells), abs=1e-12
    )


def test_scikit_learn_agrees_cell_by_cell() -> None:
    scores, labels, cells = _made(1)
    counted = [f"cell{i}" for i in range(4)]
    areas = [roc_auc_score(labels[cells == cell], scores[cells == cell]) for cell in counted]
    sizes = [np.bincount(labels[cells == cell]).min() for cell in counted]
    assert auroc_within_cells(scores, labels, cells) == pytest.approx(np.average(areas, weights=sizes))


def test_weights_are_repeated_images() -> None:
    scores, labels, cells = _made(2)
    weights = np.random.default_rng(0).integers(0, 3, (20, len(labels)))
    weights[:, np.isin(cells, ("cell4", "cell5"))] = 0  # do not count, however often they were drawn
    drawn = [np.repeat(np.arange(len(labels)), row) for row in weights]
    expected = [_pairs(scores[index], labels[index], cells[index]) for index in drawn]
    values = weighted_auroc_within_cells(weights.astype(np.float64), labels, scores, cells)
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_a_cell_whose_smaller_class_is_not_drawn_leaves_the_others() -> None:
    scores, labels, cells = (
        np.tile(np.arange(10.0), 2),
        np.tile([0] * 5 + [1] * 5, 2),
        np.repeat(["a", "b"], 10),
    )
    weights = np.ones((2, 20))
    weights[0, 15:] = 0
    weights[1, :] = 0
    values = weighted_auroc_within_cells(weights, labels, scores, cells)
    assert values[0] == 1.0
    assert math.isnan(values[1])


def test_telling_the_cells_apart_earns_nothing() -> None:
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 2, 2000)
    labels = (rng.random(2000) < np.where(cells, 0.9, 0.1)).astype(np.int64)
    scores = cells + 0.01 * rng.normal(size=2000)
    assert roc_auc_score(labels, scores) > 0.85
    assert auroc_within_cells(scores, labels, cells.astype(str)) == pytest.approx(0.5, abs=0.05)


def test_without_a_cell_that_counts_there_is_no_figure() -> None:
    assert math.isnan(auroc_within_cells(np.arange(4.0), np.array([0, 1, 0, 1]), np.array(list("abab"))))
