"""The strength and the figures of a fit, against scikit-learn fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_bone_ssl.stats.within_cells import auroc_within_cells
from monai_bone_ssl.training.data import PROTOCOL_SEEDS, range_splits, splits
from monai_bone_ssl.training.probes.cross_validation import (
    PRODUCT_STRENGTHS,
    OutOfFold,
    auroc_figures,
    best_choice,
    cross_validate,
    out_of_fold,
    share_figure,
)
from training.labelled import grouped_problem, make_dataset, problem_with_shortcut


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
    for seed, logits in zip(PROTOCOL_SEEDS, judged.logits.seeds, strict=True):
        expected = _scikit_learns(features, dataset.labels, splits(dataset, seed=seed), judged.strength)
        np.testing.assert_allclose(logits, expected, atol=2e-3)


def test_probabilities_are_calibrated(problem, judged):
    features, dataset = problem
    assert judged.probabilities.shape == (len(PROTOCOL_SEEDS), len(dataset))
    # Labels are drawn with log-odds of twice feature 0.
    assert np.abs(judged.probabilities - expit(2 * features[:, 0])).mean() < 0.15
    assert judged.probabilities.mean() == pytest.approx(dataset.labels.mean(), abs=0.01)


def test_of_equal_rows_the_first_is_best():
    dataset = make_dataset([0, 1, 0, 1], ["hand"] * 4, "abcd")
    rows = np.array([[0, 1, 2, 3], [0, 2, 1, 3], [0, 5, 1, 9]], dtype=np.float32)
    assert best_choice(rows, dataset) == 1


def test_a_choice_that_tells_ranges_apart_loses_to_one_that_tells_the_target():
    features, dataset = problem_with_shortcut()
    rows = features[:, [1, 0]].T  # the range, the finding
    assert roc_auc_score(dataset.labels, rows[0]) > roc_auc_score(dataset.labels, rows[1])
    assert best_choice(rows, dataset) == 1


def test_too_few_cases_in_every_cell_leave_the_choice_to_the_auroc():
    dataset = make_dataset([0, 1, 0, 1], ["hand"] * 4, "abcd", acquisitions=list("nsns"))
    assert best_choice(np.array([[0, 1, 2, 3], [0, 2, 1, 3]], dtype=np.float32), dataset) == 1


def test_ranges_left_out_fix_the_calibration_and_have_figures():
    features, dataset = problem_with_shortcut()
    judged = cross_validate(features, dataset)
    folds = list(range_splits(dataset))
    assert len(folds) == 6
    expected = _scikit_learns(features, dataset.labels, folds, judged.strength)
    np.testing.assert_allclose(judged.logits.ranges, expected, atol=2e-3)
    assert judged.probabilities.shape == (1, len(dataset))
    np.testing.assert_allclose(judged.probabilities[0], judged.calibration.probabilities(expected), atol=1e-3)
    figures = auroc_figures(dataset, judged.logits)
    assert set(figures) == {
        "auroc",
        "auroc_within_cells",
        "auroc_range_left_out",
        "auroc_range_left_out_within_cells",
    }
    assert figures["auroc_range_left_out"].value == pytest.approx(roc_auc_score(dataset.labels, expected))
    within = np.mean([auroc_within_cells(row, dataset.labels, dataset.cells) for row in judged.logits.seeds])
    assert figures["auroc_within_cells"].value == pytest.approx(within)
    assert figures["auroc_within_cells"].ci_low < within < figures["auroc_within_cells"].ci_high
    assert figures["auroc"].value > within + 0.05  # what the shortcut earned


def test_any_method_is_run_through_the_protocol_with_every_image_predicted():
    _, dataset = problem_with_shortcut()
    seen = []

    def share_of_positives(folds):
        logits = np.full(len(dataset), np.nan, dtype=np.float32)
        for train, test in folds:
            logits[test] = dataset.labels[train].mean()
        seen.append(len(folds))
        return logits

    logits = out_of_fold(dataset, share_of_positives)
    assert seen == [5, 5, 5, 6]
    assert np.isfinite(logits.seeds).all()
    assert np.isfinite(logits.ranges).all()
    # One fit predicts a whole cell, so that what differs between fits counts neither for nor against it.
    assert auroc_within_cells(logits.ranges, dataset.labels, dataset.cells) == 0.5
    part = logits.take(np.array([3, 1]))
    np.testing.assert_array_equal(part.reference, logits.ranges[None, [3, 1]])
    np.testing.assert_array_equal(OutOfFold(part.seeds, None).reference, logits.seeds[:, [3, 1]])


def test_figures_are_means_over_the_seeds(problem, judged):
    _, dataset = problem
    figure = auroc_figures(dataset, judged.logits)["auroc"]
    expected = np.mean([roc_auc_score(dataset.labels, logits) for logits in judged.logits.seeds])
    assert figure.value == pytest.approx(expected, abs=1e-12)
    assert figure.ci_low < figure.value < figure.ci_high


def test_a_share_has_an_interval_over_groups():
    """Two groups of four, one all right and one all wrong: a resample has none, half or all right."""
    figure = share_figure(np.repeat([True, False], 4), np.repeat(["a", "b"], 4))
    assert (figure.value, figure.ci_low, figure.ci_high) == (0.5, 0.0, 1.0)
