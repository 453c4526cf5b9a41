"""The mathematics of adaptation against scikit-learn, and the gate against verdicts that mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.model.spec import Figure
from monai_bone_ssl.review.adaptation import site_probe
from monai_bone_ssl.review.adaptation.gate import HeldOutFigure, ModelInUse, held_out_figures, judge
from monai_bone_ssl.review.adaptation.site_probe import (
    CHANGE_STRENGTHS,
    ProbeWeights,
    SiteCases,
    SiteProbe,
)
from monai_bone_ssl.stats.calibration import Calibration, fit_calibration
from monai_bone_ssl.stats.logistic_regression import fit_logistic_regression

POINTS = OperatingPoints(high_sensitivity=0.3, high_specificity=0.7)


def make_cases(n: int, width: int = 30, gain: float = 2.0, seed: int = 0) -> tuple[SiteCases, ProbeWeights]:
    """Labels follow ``gain`` times a direction that the old probe knows half of; two images a patient."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, width)).astype(np.float32)
    logits = gain * (features[:, 0] + features[:, 1])
    labels = (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    patients = np.array([f"p{number // 2}" for number in range(n)])
    old = ProbeWeights(np.eye(width)[0] * 1.5, -0.2)
    return SiteCases(features, labels, patients, np.full(n, "hand")), old


# --- logistic regression ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [1e-3, 1.0, 100.0])
def test_logistic_regression_agrees_with_scikit_learn(strength: float) -> None:
    cases, _ = make_cases(200)
    features = cases.features.astype(np.float64)
    expected = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(features, cases.labels)
    design = np.hstack([np.ones((200, 1)), cases.features])
    ridge = np.array([1e-12] + [1 / strength] * 30)
    found = fit_logistic_regression(design, cases.labels, ridge)
    np.testing.assert_allclose(found[1:], expected.coef_[0], atol=1e-5)
    assert found[0] == pytest.approx(expected.intercept_[0], abs=1e-5)


def test_logistic_regression_of_separable_labels_is_finite_and_of_one_class_is_refused() -> None:
    logits = np.array([-2.0, -1.0, 1.0, 2.0], np.float32)
    calibration = fit_calibration(logits, np.array([0, 0, 1, 1]))
    assert np.isfinite(calibration.slope)
    assert calibration.probability(-1.0) < 0.01 < 0.99 < calibration.probability(1.0)
    with pytest.raises(ConfigError, match="one class"):
        fit_calibration(logits, np.zeros(4, np.int64))


def test_calibration_agrees_with_scikit_learn() -> None:
    cases, old = make_cases(300)
    logits = old.logits(cases.features).astype(np.float32)
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, None], cases.labels)
    found = fit_calibration(logits, cases.labels)
    assert found.slope == pytest.approx(expected.coef_[0, 0], rel=1e-5)
    assert found.intercept == pytest.approx(expected.intercept_[0], abs=1e-5)


# --- folds and probe --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [30, 500])
@pytest.mark.parametrize("strength", [0.03, 3.0])
def test_a_change_is_ridge_regression_beside_a_free_old_logit(
    strength: float, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: scikit-learn with one penalty, and the old logit so large that it is as good as free."""
    cases, old = make_cases(100, width)
    monkeypatch.setattr(site_probe, "CHANGE_STRENGTHS", (strength,))
    fitted = SiteProbe.fit(cases, old).probe
    scale = 1e4
    standardised = (cases.features - cases.features.mean(0)) / cases.features.std(0)
    logits = old.logits(cases.features)[:, None]
    design = np.hstack([scale * (logits - logits.mean()), standardised])
    expected = LogisticRegression(C=strength / width, tol=1e-12, max_iter=1000, solver="newton-cholesky")
    expected.fit(design, cases.labels)
    np.testing.assert_allclose(fitted.logits(cases.features), expected.decision_function(design), atol=2e-3)


def test_without_a_change_the_ranking_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    cases, old = make_cases(100)
    monkeypatch.setattr(site_probe, "CHANGE_STRENGTHS", (0.0,))
    fitted = SiteProbe.fit(cases, old)
    before, after = old.logits(cases.features), fitted.probe.logits(cases.features)
    assert np.array_equal(np.argsort(before), np.argsort(after))
    assert np.abs(np.corrcoef(fitted.probe.weight, old.weight)[0, 1]) == pytest.approx(1)


def test_the_strength_with_the_least_held_out_log_loss_is_chosen() -> None:
    easy, old = make_cases(400, gain=4.0)
    assert SiteProbe.fit(easy, old).strength == max(CHANGE_STRENGTHS)
    rng = np.random.default_rng(0)
    known = ProbeWeights(np.array([2.0, 2.0] + [0.0] * 28), 0.0)
    chances = 1 / (1 + np.exp(-known.logits(easy.features)))
    labels = (rng.random(400) < chances).astype(np.int64)
    alike = SiteCases(easy.features, labels, easy.patients, easy.parts)
    assert SiteProbe.fit(alike, known).strength < max(CHANGE_STRENGTHS)


def test_points_are_a_parts_own_only_with_enough_verdicts() -> None:
    cases, old = make_cases(200)
    parts = np.where(np.arange(200) < 30, "leg", "hand")
    fitted = SiteProbe.fit(SiteCases(cases.features, cases.labels, cases.patients, parts), old)
    assert set(fitted.points) == {"hand"}
    assert fitted.points_of("leg") == fitted.other_points != fitted.points_of("hand")


# --- comparison and gate ----------------------------------------------------------------------------------


def old_model(probe: ProbeWeights) -> ModelInUse:
    return ModelInUse(probe, Calibration(slope=1.0, intercept=0.0), {"hand": POINTS})


def test_figures_of_the_old_model_are_scikit_learns() -> None:
    cases, old = make_cases(200)
    logits = old.logits(cases.features)
    probabilities = 1 / (1 + np.exp(-logits))
    positive = cases.labels == 1
    found = {comparison.name: comparison for comparison in held_out_figures(cases, old_model(old))}
    expected = {
        "log_loss": log_loss(cases.labels, probabilities),
        "auroc": roc_auc_score(cases.labels, logits),
        "accuracy": ((probabilities >= 0.5) == positive).mean(),
        "sensitivity_at_high_sensitivity": (probabilities[positive] >= 0.3).mean(),
        "specificity_at_high_specificity": (probabilities[~positive] < 0.7).mean(),
    }
    assert {name: comparison.old.value for name, comparison in found.items()} == pytest.approx(expected)
    for comparison in found.values():
        for figure in (comparison.old, comparison.new, comparison.difference):
            assert figure.ci_low <= figure.value <= figure.ci_high
        assert comparison.difference.value == pytest.approx(comparison.new.value - comparison.old.value)


def test_a_site_that_knows_more_passes() -> None:
    cases, old = make_cases(200)
    gate = judge(held_out_figures(cases, old_model(old)))
    assert gate.passed, gate.reasons


def permuted(seed: int, n: int = 120) -> tuple[SiteCases, ProbeWeights]:
    cases, old = make_cases(n, seed=seed)
    labels: NDArray[np.int64] = np.random.default_rng(seed).permutation(cases.labels)
    return SiteCases(cases.features, labels, cases.patients, cases.parts), old


def test_verdicts_that_mean_nothing_do_not_pass_although_the_log_loss_improves() -> None:
    """At 20 sites: answering with the share of positives beats a model that is sure of something else."""
    judged = []
    for seed in range(20):
        cases, old = permuted(seed)
        figures = held_out_figures(cases, old_model(old))
        judged.append((figures[0].difference.ci_high < 0, judge(figures).passed))
    assert sum(better for better, _ in judged) >= 10, "the first rule alone would adopt them"
    assert sum(passed for _, passed in judged) == 0


def comparison(name: str, difference: tuple[float, float, float], new_low: float = 0.7) -> HeldOutFigure:
    value, low, high = difference
    return HeldOutFigure(
        name,
        Figure(value=0.8, ci_low=0.7, ci_high=0.9),
        Figure(value=0.8 + value, ci_low=new_low, ci_high=0.9),
        Figure(value=value, ci_low=low, ci_high=high),
    )


@pytest.mark.parametrize(
    ("log_loss_difference", "auroc_difference", "auroc_low", "failed"),
    [
        ((-0.1, -0.2, -0.01), (0.0, -0.1, 0.1), 0.7, []),
        ((-0.1, -0.2, 0.0), (0.0, -0.1, 0.1), 0.7, ["log loss"]),
        ((-0.1, -0.2, -0.01), (-0.011, -0.1, 0.1), 0.7, ["AUROC falls"]),
        ((-0.1, -0.2, -0.01), (-0.009, -0.1, 0.1), 0.6, ["AUROC is hardly above chance"]),
        ((-0.1, np.nan, np.nan), (0.0, np.nan, np.nan), np.nan, ["log loss", "AUROC is hardly"]),
        ((0.1, 0.05, 0.2), (-0.2, -0.3, -0.1), 0.4, ["log loss", "AUROC falls", "AUROC is hardly"]),
    ],
)
def test_each_rule_of_the_gate(
    log_loss_difference: tuple[float, float, float],
    auroc_difference: tuple[float, float, float],
    auroc_low: float,
    failed: list[str],
) -> None:
    gate = judge(
        (comparison("log_loss", log_loss_difference), comparison("auroc", auroc_difference, auroc_low))
    )
    assert gate.passed == (not failed)
    assert len(gate.reasons) == len(failed)
    for reason, start in zip(gate.reasons, failed, strict=True):
        assert reason.startswith(start)
