"""Batched logistic regression against scikit-learn, strength by strength and fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.probes.logistic import fit_logistic, out_of_fold_logits

STRENGTHS = (1e-6, 1e-4, 1e-2, 1.0, 100.0)


def _problem(n, width, noise=1.0, seed=0):
    """Correlated features far from 0 and of uneven scales; labels of a noisy linear model."""
    rng = np.random.default_rng(seed)
    components = rng.normal(size=(n, width)) * np.arange(1, width + 1) ** -0.7
    logits = components @ rng.normal(size=width)
    labels = (logits / logits.std() + noise * rng.logistic(size=n) > 0.3).astype(np.int64)
    features = components @ rng.normal(size=(width, width)) * np.geomspace(0.01, 100, width) + 5
    return features.astype(np.float32), labels


def _reference(features, labels, strength):
    """scikit-learn's exact solution and its objective, in standardised coordinates."""
    scaler = StandardScaler().fit(features.astype(np.float64))
    inputs = scaler.transform(features.astype(np.float64))
    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    return scaler, inputs, model.fit(inputs, labels)


def _objective(weight, bias, inputs, labels, strength):
    logits = inputs @ weight + bias
    return strength * np.logaddexp(0, np.where(labels > 0, -logits, logits)).sum() + weight @ weight / 2


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize(
    ("n", "width"), [(400, 20), (60, 90), (120, 90)], ids=["overdetermined", "more features", "separable"]
)
def test_solution_is_scikit_learns(n, width, strength):
    """The objective within 1e-6 of the least, and the same logits on new data."""
    features, labels = _problem(n + 50, width)
    known, labels = features[:n], labels[:n]
    scaler, inputs, model = _reference(known, labels, strength)
    probe = fit_logistic(known, labels, STRENGTHS)[STRENGTHS.index(strength)]

    weight = probe.weight[0] * scaler.scale_
    bias = float(probe.bias[0] + probe.weight[0].astype(np.float64) @ scaler.mean_)
    least = _objective(model.coef_[0], model.intercept_[0], inputs, labels, strength)
    assert _objective(weight, bias, inputs, labels, strength) <= least * (1 + 1e-6)
    np.testing.assert_allclose(weight, model.coef_[0], atol=3e-3 * np.abs(model.coef_).max())
    expected = model.decision_function(scaler.transform(features.astype(np.float64)))
    np.testing.assert_allclose(
        probe.logits(features)[:, 0], expected, atol=3e-3 * np.abs(expected).max() + 1e-4
    )


def test_separable_classes_and_hardly_any_ridge_converge():
    """Where scikit-learn's default tolerance stops at several times the least objective."""
    features, labels = _problem(80, 100, noise=0.0)
    probe = fit_logistic(features, labels, (1e5,))[0]
    scaler, inputs, model = _reference(features, labels, 1e5)
    weight = probe.weight[0] * scaler.scale_
    bias = float(probe.bias[0] + probe.weight[0].astype(np.float64) @ scaler.mean_)
    least = _objective(model.coef_[0], model.intercept_[0], inputs, labels, 1e5)
    assert _objective(weight, bias, inputs, labels, 1e5) <= least * (1 + 1e-4)


def test_strengths_do_not_touch_each_other():
    features, labels = _problem(200, 15)
    together = fit_logistic(features, labels, STRENGTHS)
    for strength, probe in zip(STRENGTHS, together, strict=True):
        alone = fit_logistic(features, labels, (strength,))[0]
        np.testing.assert_allclose(
            probe.logits(features),
            alone.logits(features),
            rtol=2e-3,
            atol=2e-3 * abs(alone.logits(features)).max(),
        )


def test_folds_at_once_equal_folds_one_by_one():
    """Also the standardisation: a feature that is constant or shifted in one fold."""
    features, labels = _problem(250, 12)
    features[:200, 3] = 7.0
    features[200:, 4] += 50
    index = np.arange(250)
    folds = [(index[index // 50 != i], index[index // 50 == i]) for i in range(5)]
    found = out_of_fold_logits(features, labels, folds, STRENGTHS)
    for train, test in folds:
        for row, strength in zip(found, STRENGTHS, strict=True):
            scaler, _, model = _reference(features[train], labels[train], strength)
            expected = model.decision_function(scaler.transform(features[test].astype(np.float64)))
            np.testing.assert_allclose(row[test], expected, atol=5e-3 * np.abs(expected).max() + 1e-4)


def test_a_feature_that_never_changes_gets_no_weight():
    features, labels = _problem(100, 5)
    features[:, 2] = 1234.5
    for probe in fit_logistic(features, labels, STRENGTHS):
        assert probe.weight[0, 2] == 0


def test_weights_sum_to_nothing_at_the_strongest_ridge():
    """Then only the intercept is left, which no ridge holds back: the log-odds of the classes."""
    features, labels = _problem(300, 5)
    probe = fit_logistic(features, labels, (1e-9,))[0]
    share = labels.mean()
    np.testing.assert_allclose(probe.logits(features)[:, 0], np.log(share / (1 - share)), atol=1e-4)


def test_out_of_fold_never_uses_the_image():
    """Flipping one label changes the logits of the other folds' images, never that image's own fold."""
    features, labels = _problem(300, 6)
    index = np.arange(300)
    folds = [(index[index % 5 != i], index[index % 5 == i]) for i in range(5)]
    (before,) = out_of_fold_logits(features, labels, folds, (0.1,))
    changed = labels.copy()
    changed[7] = 1 - changed[7]
    (after,) = out_of_fold_logits(features, changed, folds, (0.1,))
    own, other = folds[7 % 5][1], folds[0][1]
    np.testing.assert_allclose(after[own], before[own], rtol=0, atol=1e-4)
    assert np.abs(after[other] - before[other]).min() > 1e-4


def test_tensors_are_as_good_as_arrays():
    features, labels = _problem(100, 6)
    one = fit_logistic(features, labels, (1.0,))[0]
    other = fit_logistic(torch.from_numpy(features), torch.from_numpy(labels), (1.0,))[0]
    np.testing.assert_allclose(one.weight, other.weight, rtol=1e-4, atol=1e-7)


def test_one_class_is_refused():
    features, labels = _problem(40, 3)
    with pytest.raises(ConfigError, match="one class"):
        fit_logistic(features, np.ones_like(labels), (1.0,))
    folds = [(np.flatnonzero(labels == 1), np.flatnonzero(labels == 0))]
    with pytest.raises(ConfigError, match="one class"):
        out_of_fold_logits(features, labels, folds, (1.0,))


def test_values_that_are_no_numbers_are_refused():
    features, labels = _problem(40, 3)
    features[5, 1] = np.nan
    with pytest.raises(ConfigError, match="NaN"):
        fit_logistic(features, labels, (1.0,))


def test_strength_must_be_positive():
    with pytest.raises(ConfigError, match="above 0"):
        fit_logistic(*_problem(40, 3), (1.0, 0.0))
