"""The strength and the figures of a fit, against scikit-learn fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_bone_ssl.training.data import PROTOCOL_SEEDS, splits
from monai_bone_ssl.training.probes.cross_validation import (
    PRODUCT_STRENGTHS,
    auroc_figures,
    best_by_auroc,
    cross_validate,
    share_figure,
)
from training.labelled import grouped_problem


@pytest.fixture(scope="module")
def problem():
    return grouped_problem(n_groups=60, per_group=4)


@pytest.fixture(scope="module")
def judged(problem):
    return cross_validate(*problem)


def _scikit_learns(features, labels, folds, strength):
    logits = np.empty(len(labels))
    for train, test in folds:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-8, max_iter=1000))
        logits[test] = model.fit(features[train], labels[train]).decision_function(features[test])
    return logits


def test_logits_of_every_seed_are_scikit_learns_at_the_strength_that_ranks_best(problem, judged):
    features, dataset = problem
    first = list(splits(dataset, seed=PROTOCOL_SEEDS[0]))
    aurocs = [
        roc_auc_score(dataset.labels, _scikit_learns(features, dataset.labels, first, strength))
        for strength in PRODUCT_STRENGTHS
    ]
    assert aurocs[PRODUCT_STRENGTHS.index(judged.strength)] == pytest.approx(max(aurocs), abs=1e-3)
    for seed, logits in zip(PROTOCOL_SEEDS, judged.logits, strict=True):
        expected = _scikit_learns(features, dataset.labels, splits(dataset, seed=seed), judged.strength)
        np.testing.assert_allclose(logits, expected, atol=2e-3)


def test_probabilities_are_calibrated(problem, judged):
    features, dataset = problem
    assert judged.probabilities.shape == (len(PROTOCOL_SEEDS), len(dataset))
    # Labels are drawn with log-odds of twice feature 0.
    assert np.abs(judged.probabilities - expit(2 * features[:, 0])).mean() < 0.15
    assert judged.probabilities.mean() == pytest.approx(dataset.labels.mean(), abs=0.01)


def test_of_equal_rows_the_first_is_best():
    labels = np.array([0, 1, 0, 1])
    rows = np.array([[0, 1, 2, 3], [0, 2, 1, 3], [0, 5, 1, 9]], dtype=np.float32)
    assert best_by_auroc(rows, labels) == 1


def test_figures_are_means_over_the_seeds(problem, judged):
    _, dataset = problem
    figure = auroc_figures(dataset, judged.logits)["auroc"]
    expected = np.mean([roc_auc_score(dataset.labels, logits) for logits in judged.logits])
    assert figure.value == pytest.approx(expected, abs=1e-12)
    assert figure.ci_low < figure.value < figure.ci_high


def test_a_share_has_an_interval_over_groups():
    """Two groups of four, one all right and one all wrong: a resample has none, half or all right."""
    figure = share_figure(np.repeat([True, False], 4), np.repeat(["a", "b"], 4))
    assert (figure.value, figure.ci_low, figure.ci_high) == (0.5, 0.0, 1.0)
