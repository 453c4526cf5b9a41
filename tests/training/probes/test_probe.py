"""Probes, calibration, operating points and distance against closed forms and naive versions."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_bone_ssl.stats.calibration import SENSITIVITY, SPECIFICITY, fit_calibration, fix_operating_points
from monai_bone_ssl.training.probes.linear import (
    STRENGTHS,
    choose_strength,
    fit_class_probe,
    fit_probe,
    out_of_fold,
)
from monai_bone_ssl.training.probes.novelty import fit_novelty, out_of_fold_distances

RNG_SEED = 5


@pytest.fixture
def rng():
    return np.random.default_rng(RNG_SEED)


@pytest.fixture
def features(rng):
    return (rng.normal(size=(300, 6)) * [1, 5, 0.1, 1, 1, 2] + [0, 10, 0, -3, 0, 1]).astype(np.float32)


@pytest.fixture
def labels(rng, features):
    return (rng.random(300) < expit(features[:, 0] + 8 * features[:, 2])).astype(np.int64)


def _folds(n, k=5):
    index = np.arange(n)
    return [(index[index % k != i], index[index % k == i]) for i in range(k)]


def test_folded_standardisation_equals_the_pipeline(features, labels):
    probe = fit_probe(features, labels, 0.1)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8, max_iter=1000))
    expected = pipeline.fit(features, labels).decision_function(features)
    np.testing.assert_allclose(probe.logits(features)[:, 0], expected, atol=1e-3)


def test_out_of_fold_never_uses_the_image(features, labels):
    """Flipping one label changes the logits of the other folds' images, never that image's own fold."""
    folds = _folds(len(labels))
    fit = partial(fit_probe, strength=0.1)
    before = out_of_fold(features, labels, folds, fit)[:, 0]
    changed = labels.copy()
    changed[7] = 1 - changed[7]
    after = out_of_fold(features, changed, folds, fit)[:, 0]
    own = folds[7 % 5][1]
    np.testing.assert_array_equal(before[own], after[own])
    assert np.all(before[folds[0][1]] != after[folds[0][1]])


@pytest.mark.parametrize("present", [(0,), (0, 2), (0, 1, 2)])
def test_class_probe_gives_each_class_a_logit(rng, features, present):
    labels = rng.choice(present, len(features)).astype(np.int64)
    features[:, 0] += 5 * labels
    logits = fit_class_probe(features, labels, classes=3, strength=1.0).logits(features)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    assert shares.shape == (len(features), 3)
    assert (shares.argmax(axis=1) == labels).mean() > 0.9
    absent = [c for c in range(3) if c not in present]
    assert np.all(shares[:, absent] == 0)


def test_chosen_strength_has_the_best_auroc(features, labels):
    """Each score is that of scikit-learn, fitted fold by fold."""
    strength, scores = choose_strength(features, labels, _folds(len(labels)))
    assert list(scores) == list(STRENGTHS)
    for tried, score in scores.items():
        logits = np.empty(len(labels))
        for train, test in _folds(len(labels)):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=tried, tol=1e-8, max_iter=1000))
            logits[test] = model.fit(features[train], labels[train]).decision_function(features[test])
        assert score == pytest.approx(roc_auc_score(labels, logits), abs=1e-3)
    assert scores[strength] == max(scores.values())


def test_calibration_recovers_a_known_slope(rng):
    logits = rng.normal(size=20_000).astype(np.float32)
    labels = (rng.random(20_000) < expit(2.0 * logits - 1.0)).astype(np.int64)
    calibration = fit_calibration(logits, labels)
    assert calibration.slope == pytest.approx(2.0, abs=0.1)
    assert calibration.intercept == pytest.approx(-1.0, abs=0.1)


def test_operating_points_keep_what_they_promise_and_no_more(rng):
    labels = (rng.random(2000) < 0.3).astype(np.int64)
    probabilities = expit(rng.normal(size=2000) + 1.5 * labels)
    points = fix_operating_points(probabilities, labels)
    positives, negatives = probabilities[labels == 1], probabilities[labels == 0]
    assert (positives >= points.high_sensitivity).mean() >= SENSITIVITY
    assert (positives > points.high_sensitivity).mean() < SENSITIVITY, "the highest such threshold"
    assert (negatives < points.high_specificity).mean() >= SPECIFICITY
    below = np.nextafter(points.high_specificity, 0)
    assert (negatives < below).mean() < SPECIFICITY, "the lowest such threshold"


def test_operating_points_never_cross_where_classes_are_far_apart():
    points = fix_operating_points(np.array([0.1] * 20 + [0.9] * 20), np.array([0] * 20 + [1] * 20))
    assert points.high_sensitivity <= points.high_specificity


def test_distance_is_one_on_average_and_grows_with_distance(features):
    novelty = fit_novelty(features)
    distances = novelty.distances(features)
    assert np.sqrt(np.square(distances).mean()) == pytest.approx(1.0, abs=0.01)
    centred = np.linalg.inv(np.cov(features.astype(np.float64), rowvar=False))
    offset = features.astype(np.float64) - features.mean(axis=0)
    naive = np.sqrt(np.einsum("nd,de,ne->n", offset, centred, offset) / features.shape[1])
    np.testing.assert_allclose(distances, naive, rtol=0.01)


def test_distances_are_out_of_fold(features):
    shifted = features.copy()
    shifted[0] += 1000
    distances = out_of_fold_distances(shifted, _folds(len(shifted)))
    assert distances[0] > 50, "an image may not make itself familiar"
