"""Calibration and operating points against closed forms and the shares that they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from monai_bone_ssl.stats.calibration import (
    SENSITIVITY,
    SPECIFICITY,
    Calibration,
    fit_calibration,
    fix_operating_points,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_calibration_recovers_a_known_slope(rng: np.random.Generator) -> None:
    logits = rng.normal(size=20_000).astype(np.float32)
    labels = (rng.random(20_000) < expit(2.0 * logits - 1.0)).astype(np.int64)
    calibration = fit_calibration(logits, labels)
    assert calibration.slope == pytest.approx(2.0, abs=0.1)
    assert calibration.intercept == pytest.approx(-1.0, abs=0.1)


def test_probabilities_of_many_logits_are_those_of_each_one(rng: np.random.Generator) -> None:
    calibration = Calibration(slope=1.5, intercept=-0.25)
    logits = np.append(rng.normal(size=(3, 5)), [[-800.0, -40.0, 0.0, 40.0, 800.0]], axis=0)
    expected = [[calibration.probability(float(logit)) for logit in row] for row in logits]
    np.testing.assert_allclose(calibration.probabilities(logits), expected, rtol=1e-12)


def test_operating_points_keep_what_they_promise_and_no_more(rng: np.random.Generator) -> None:
    labels = (rng.random(2000) < 0.3).astype(np.int64)
    probabilities = expit(rng.normal(size=2000) + 1.5 * labels)
    points = fix_operating_points(probabilities, labels)
    positives, negatives = probabilities[labels == 1], probabilities[labels == 0]
    assert (positives >= points.high_sensitivity).mean() >= SENSITIVITY
    assert (positives > points.high_sensitivity).mean() < SENSITIVITY, "the highest such threshold"
    assert (negatives < points.high_specificity).mean() >= SPECIFICITY
    below = np.nextafter(points.high_specificity, 0)
    assert (negatives < below).mean() < SPECIFICITY, "the lowest such threshold"


def test_operating_points_never_cross_where_classes_are_far_apart() -> None:
    points = fix_operating_points(np.array([0.1] * 20 + [0.9] * 20), np.array([0] * 20 + [1] * 20))
    assert points.high_sensitivity <= points.high_specificity
