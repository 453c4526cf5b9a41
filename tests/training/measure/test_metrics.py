"""Figures against hand-computed values, scikit-learn, and a naive bootstrap over the same resamples."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.findings import OperatingPoints, decide
from monai_bone_ssl.stats import bootstrap
from monai_bone_ssl.stats.bootstrap import (
    cluster_bootstrap,
    percentile_interval,
    weighted_auroc,
    weighted_hits,
)
from monai_bone_ssl.training.measure.estimates import probability_bins
from monai_bone_ssl.training.measure.localisation import pointing_game
from monai_bone_ssl.training.measure.metrics import BinaryMetrics, Metrics, compute_metrics
from monai_bone_ssl.training.measure.sample import Sample, merge_studies

POINTS = OperatingPoints(high_sensitivity=0.15, high_specificity=0.65)
FIGURES = (
    "auroc",
    "auroc_within_cells",
    "accuracy",
    "balanced_accuracy",
    "kappa",
    "sensitivity",
    "specificity",
    "sensitivity_at_specificity_85",
    "sensitivity_at_specificity_90",
    "ece",
    "indeterminate",
    "sensitivity_at_high_sensitivity",
    "specificity_at_high_specificity",
)


def _measure(sample: Sample, **more: Any) -> Metrics:
    """The figures of one run."""
    return compute_metrics([sample], **more)


def _sample(
    labels: list[int],
    probabilities: list[float],
    groups: list[str] | None = None,
    parts: list[str] | None = None,
    threshold: float = 0.5,
    cells: list[str] | None = None,
) -> Sample:
    n = len(labels)
    return Sample(
        labels=np.array(labels, dtype=np.int64),
        probabilities=np.array(probabilities, dtype=np.float64),
        thresholds=np.full(n, threshold),
        decisions=np.array([decide(p, POINTS) for p in probabilities], dtype=np.str_),
        groups=np.array(groups or [f"g{i}" for i in range(n)]),
        parts=np.array(parts or ["hand"] * n),
        cells=None if cells is None else np.array(cells),
    )


def _random_sample(n: int, n_groups: int, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    probabilities = np.clip(np.round(0.3 * labels + 0.7 * rng.random(n), 1), 0, 1)  # many ties
    groups = [f"g{i}" for i in rng.integers(0, n_groups, n)]
    return _sample(labels.tolist(), probabilities.tolist(), groups)


# tp 2, fn 1, fp 1, tn 4 at 0.5.
LABELS = [1, 1, 1, 0, 0, 0, 0, 0]
PROBABILITIES = [0.9, 0.6, 0.2, 0.7, 0.4, 0.2, 0.1, 0.1]
# Cells of 5 and 5 images of either class, where 25 and 15 of 25 pairs are in order; and one of 2 positives.
CELL_LABELS = [1] * 5 + [0] * 5 + [1] * 5 + [0] * 5 + [1] * 2
CELL_PROBABILITIES = [0.9, 0.8, 0.8, 0.7, 0.7, 0.6, 0.6, 0.5, 0.5, 0.4]
CELL_PROBABILITIES += [0.3, 0.3, 0.3, 0.1, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.0, 0.0]
CELLS = ["north hand"] * 10 + ["south hand"] * 10 + ["south leg"] * 2
BY_HAND = {
    "auroc": (5 + 4 + 2.5) / 15,
    "accuracy": 6 / 8,
    "balanced_accuracy": (2 / 3 + 4 / 5) / 2,
    "kappa": (6 / 8 - 34 / 64) / (1 - 34 / 64),
    "sensitivity": 2 / 3,
    "specificity": 4 / 5,
    "sensitivity_at_specificity_85": 1 / 3,  # no negative may pass: 0.9 alone is above 0.7
    "sensitivity_at_specificity_90": 1 / 3,
    "ece": (0.1 + 0.4 + 2 * 0.3 + 0.7 + 0.4 + 2 * 0.1) / 8,  # 0.2 and 0.2 share a bin with one positive
    "indeterminate": 4 / 8,
    "sensitivity_at_high_sensitivity": 3 / 3,
    "specificity_at_high_specificity": 4 / 5,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_figures_computed_by_hand(name: str) -> None:
    metrics = _measure(_sample(LABELS, PROBABILITIES))
    estimate = getattr(metrics, name)
    assert estimate.value == pytest.approx(BY_HAND[name], abs=1e-12)
    assert estimate.ci_low <= estimate.value <= estimate.ci_high
    assert estimate.reason is None


def test_auroc_within_cells_computed_by_hand() -> None:
    sample = _sample(CELL_LABELS, CELL_PROBABILITIES, cells=CELLS)
    metrics = _measure(sample)
    assert metrics.auroc_within_cells.value == pytest.approx((25 + 15) / 50)
    assert metrics.auroc_within_cells.ci_low < 0.8 < metrics.auroc_within_cells.ci_high
    assert _measure(sample.take(sample.cells == "south leg")).auroc_within_cells.value is None
    merged = merge_studies(sample, np.array([f"s{i // 5}" for i in range(22)]))
    assert merged.cells is not None
    assert merged.cells.tolist() == ["north hand", "north hand", "south hand", "south hand", "south leg"]


def test_without_ranges_there_is_no_auroc_within_cells() -> None:
    assert _measure(_sample(LABELS, PROBABILITIES)).auroc_within_cells.reason == (
        "no cell of one acquisition range and body part with 5 positive and 5 negative cases"
    )


@pytest.mark.parametrize("specificity", [85, 90])
def test_sensitivity_at_a_specificity_is_that_of_scikit_learns_curve(specificity: int) -> None:
    for seed in range(5):
        sample = _random_sample(80, 20, seed)
        false, true, _ = roc_curve(sample.labels, sample.probabilities, drop_intermediate=False)
        expected = true[false <= 1 - specificity / 100].max()
        estimate = getattr(_measure(sample), f"sensitivity_at_specificity_{specificity}")
        assert estimate.value == pytest.approx(expected)
        assert estimate.ci_low <= expected <= estimate.ci_high


def test_weighted_hits_agree_with_a_naive_search_under_ties() -> None:
    rng = np.random.default_rng(0)
    scores, is_hit = rng.integers(0, 8, 40) / 8, rng.random(40) < 0.5
    weights = rng.integers(0, 3, (30, 40)).astype(np.float64)
    most_false = rng.integers(0, 12, (30, 3)).astype(np.float64)
    expected = np.zeros((30, 3))
    for i, j in np.ndindex(30, 3):
        for threshold in set(scores):
            let_in = scores >= threshold
            if weights[i, let_in & ~is_hit].sum() <= most_false[i, j]:
                expected[i, j] = max(expected[i, j], weights[i, let_in & is_hit].sum())
    np.testing.assert_array_equal(weighted_hits(weights, is_hit, scores, most_false), expected)
    nothing = np.zeros(0)
    np.testing.assert_array_equal(weighted_hits(weights[:, :0], nothing == 1, nothing, most_false), 0.0)


def test_counts_and_threshold_are_stated() -> None:
    metrics = _measure(_sample(LABELS, PROBABILITIES, groups=list("aabbccdd")))
    assert (metrics.n, metrics.n_positive, metrics.n_groups, metrics.threshold) == (8, 3, 4, 0.5)


def test_threshold_moves_two_state_figures_only() -> None:
    low = _measure(_sample(LABELS, PROBABILITIES, threshold=0.2))
    assert low.sensitivity.value == 1.0
    assert low.specificity.value == pytest.approx(2 / 5)
    assert low.auroc.value == pytest.approx(BY_HAND["auroc"])
    assert low.indeterminate.value == pytest.approx(BY_HAND["indeterminate"])


def test_point_values_agree_with_scikit_learn() -> None:
    for seed in range(5):
        sample = _random_sample(80, 20, seed)
        y, p = sample.labels, sample.probabilities
        called = p >= 0.5
        metrics = _measure(sample)
        assert metrics.auroc.value == pytest.approx(roc_auc_score(y, p), abs=1e-12)
        assert metrics.accuracy.value == pytest.approx(accuracy_score(y, called), abs=1e-12)
        assert metrics.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(y, called), abs=1e-12)
        assert metrics.kappa.value == pytest.approx(cohen_kappa_score(y, called), abs=1e-12)
        assert metrics.sensitivity.value == pytest.approx(recall_score(y, called), abs=1e-12)
        assert metrics.specificity.value == pytest.approx(recall_score(1 - y, ~called), abs=1e-12)


def test_weighted_auroc_agrees_with_scikit_learn_under_ties() -> None:
    sample = _random_sample(60, 12, 3)
    weights = np.random.default_rng(4).integers(0, 4, (50, 60)).astype(np.float64)
    expected = [
        roc_auc_score(sample.labels[row > 0], sample.probabilities[row > 0], sample_weight=row[row > 0])
        for row in weights
    ]
    np.testing.assert_allclose(weighted_auroc(weights, sample.labels, sample.probabilities), expected)


def test_weighted_auroc_of_one_class_is_undefined() -> None:
    weights = np.array([[1.0, 0.0], [1.0, 1.0]])
    values = weighted_auroc(weights, np.array([0, 1]), np.array([0.1, 0.9]))
    assert math.isnan(values[0])
    assert values[1] == 1.0


def _naive(sample: Sample, drawn: NDArray[np.int64]) -> dict[str, float]:
    """Figures of the images drawn, by definition."""
    y, p = sample.labels[drawn], sample.probabilities[drawn]
    positive, negative = p[y == 1], p[y == 0]
    gap = positive[:, None] - negative[None, :]
    called = p >= 0.5
    agree = np.mean(called == y)
    by_chance = y.mean() * called.mean() + (1 - y.mean()) * (1 - called.mean())
    edges = np.arange(16) / 15
    calibration = 0.0
    for i in range(15):
        inside = (p >= edges[i] - 1e-9) & ((p < edges[i + 1] - 1e-9) | (i == 14))
        if inside.any():
            calibration += inside.mean() * abs(p[inside].mean() - y[inside].mean())
    return {
        "auroc": float(np.mean((gap > 0) + 0.5 * (gap == 0))),
        "accuracy": float(agree),
        "kappa": float((agree - by_chance) / (1 - by_chance)),
        "sensitivity": float(np.mean(positive >= 0.5)),
        "specificity": float(np.mean(negative < 0.5)),
        "ece": calibration,
    }


def test_intervals_agree_with_a_naive_bootstrap_over_the_same_resamples() -> None:
    sample = _random_sample(60, 15, 7)
    weights = cluster_bootstrap(lambda w: w, sample.groups)
    resampled = [_naive(sample, np.repeat(np.arange(60), row.astype(int))) for row in weights]
    metrics = _measure(sample)
    for name in ("auroc", "accuracy", "kappa", "sensitivity", "specificity"):
        low, high = np.percentile([figures[name] for figures in resampled], (2.5, 97.5))
        estimate = getattr(metrics, name)
        assert (estimate.ci_low, estimate.ci_high) == pytest.approx((low, high), abs=1e-9)
    calibration = np.array([figures["ece"] for figures in resampled])
    assert calibration.mean() > metrics.ece.value  # why its interval is moved
    low, high = np.percentile(calibration, (2.5, 97.5)) - calibration.mean() + metrics.ece.value
    assert (metrics.ece.ci_low, metrics.ece.ci_high) == pytest.approx((max(low, 0), high), abs=1e-9)


def test_resamples_draw_whole_groups() -> None:
    groups = np.array(list("aaabbcccdd"))
    weights = cluster_bootstrap(lambda w: w, groups, n_resamples=300, seed=5)
    assert weights.shape == (300, 10)
    per_group = [weights[:, groups == name] for name in "abcd"]
    for columns in per_group:
        assert (columns == columns[:, :1]).all()
    assert (sum(columns[:, 0] for columns in per_group) == 4).all()


def test_resamples_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.array([f"g{i % 17}" for i in range(50)])
    at_once = cluster_bootstrap(lambda w: w, groups, n_resamples=101)
    monkeypatch.setattr(bootstrap, "_BATCH_ELEMENTS", 500)
    np.testing.assert_array_equal(cluster_bootstrap(lambda w: w, groups, n_resamples=101), at_once)


def test_interval_of_a_mean_agrees_with_scipy() -> None:
    means = np.random.default_rng(0).normal(size=40)
    values = np.repeat(means, 3)
    groups = np.repeat([f"g{i}" for i in range(40)], 3)
    ours = percentile_interval(cluster_bootstrap(lambda w: w @ values / w.sum(axis=1), groups, 20_000))
    theirs = scipy.stats.bootstrap(
        (means,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_images_of_one_patient_widen_the_interval() -> None:
    one = _random_sample(40, 1000, 2)
    labels, probabilities = np.repeat(one.labels, 5).tolist(), np.repeat(one.probabilities, 5).tolist()
    alone = _measure(_sample(labels, probabilities)).auroc
    grouped = _measure(_sample(labels, probabilities, [f"g{i // 5}" for i in range(200)])).auroc
    assert alone.value == grouped.value
    assert grouped.ci_high - grouped.ci_low > 1.7 * (alone.ci_high - alone.ci_low)  # sqrt(5) in expectation


def test_figures_of_one_class_are_undefined_with_a_reason() -> None:
    metrics = _measure(_sample([0, 0, 0], [0.1, 0.2, 0.7]))
    assert metrics.auroc.reason == "needs positive and negative cases"
    assert metrics.sensitivity.reason == "no positive cases"
    assert metrics.balanced_accuracy.value is None
    assert metrics.specificity.value == pytest.approx(2 / 3)
    assert metrics.kappa.value == pytest.approx(0.0)  # decisions are of both classes: defined
    decoded = msgspec.json.decode(msgspec.json.encode(metrics))
    assert decoded["auroc"] == {
        "value": None,
        "ci_low": None,
        "ci_high": None,
        "reason": "needs positive and negative cases",
    }
    assert set(decoded["accuracy"]) == {"value", "ci_low", "ci_high"}


def test_kappa_without_any_variation_is_undefined() -> None:
    assert _measure(_sample([0, 0], [0.1, 0.2])).kappa.reason == (
        "all labels and all decisions are of one class"
    )


def test_one_group_has_no_interval() -> None:
    metrics = _measure(_sample(LABELS, PROBABILITIES, groups=["a"] * 8))
    for name in BY_HAND:
        estimate = getattr(metrics, name)
        assert estimate.value == pytest.approx(BY_HAND[name])
        assert (estimate.ci_low, estimate.ci_high) == (None, None)
        assert estimate.reason == "too few groups for an interval"


def test_parts_and_hardware_are_subsets() -> None:
    parts = ["hand", "hand", "leg", "leg", "hand", "leg", "hand", "leg"]
    sample = _sample(LABELS, PROBABILITIES, parts=parts)
    hardware = np.array([True, False, False, False, True, False, False, False])
    metrics = _measure(sample, hardware=hardware)
    assert set(metrics.per_part) == {"hand", "leg"}
    assert metrics.per_part["hand"] == _alone(sample.take(sample.parts == "hand"))
    assert metrics.without_hardware == _alone(sample.take(~hardware))
    assert metrics.without_hardware is not None
    assert (metrics.without_hardware.n, metrics.without_hardware.n_positive) == (6, 2)


def _alone(sample: Sample) -> BinaryMetrics:
    metrics = _measure(sample)
    return BinaryMetrics(**{name: getattr(metrics, name) for name in BinaryMetrics.__struct_fields__})


def test_without_hardware_is_absent_where_unknown_or_empty() -> None:
    sample = _sample(LABELS, PROBABILITIES)
    assert _measure(sample).without_hardware is None
    assert _measure(sample, hardware=np.ones(8, dtype=bool)).without_hardware is None


def test_study_level_averages_probabilities() -> None:
    # Means: s1 0.55 of (0.9, 0.2) and s4 0.7, both positive; s2 0.35 of (0.1, 0.6) and s3 0.1, negative.
    sample = _sample(
        [1, 1, 0, 0, 0, 1],
        [0.9, 0.2, 0.1, 0.6, 0.1, 0.7],
        groups=["p1", "p1", "p2", "p2", "p2", "p3"],
        parts=["hand", "hand", "leg", "leg", "leg", "hand"],
    )
    metrics = _measure(sample, studies=np.array(["s1", "s1", "s2", "s2", "s3", "s4"]))
    study = metrics.study_level
    assert study is not None
    assert (study.n, study.n_positive, study.n_groups) == (4, 2, 3)
    assert study.auroc.value == 1.0
    assert study.accuracy.value == 1.0
    # |0.55 - 1|, |0.35 - 0|, |0.1 - 0|, |0.7 - 1|: each study alone in its bin.
    assert study.ece.value == pytest.approx((0.45 + 0.35 + 0.1 + 0.3) / 4)
    # The most severe image decides: s1 positive, s2 indeterminate, s3 negative, s4 positive.
    assert study.indeterminate.value == pytest.approx(1 / 4)
    assert {part: m.n for part, m in study.per_part.items()} == {"hand": 2, "leg": 2}


def test_study_is_positive_where_one_of_its_images_is() -> None:
    sample = _sample([1, 0, 0], [0.9, 0.1, 0.2])
    metrics = _measure(sample, studies=np.array(["s1", "s1", "s2"]))
    assert metrics.study_level is not None
    assert (metrics.study_level.n, metrics.study_level.n_positive) == (2, 1)


def test_threshold_is_null_where_parts_differ() -> None:
    sample = _sample(LABELS, PROBABILITIES, parts=["hand"] * 4 + ["leg"] * 4)
    thresholds = np.where(sample.parts == "hand", 0.15, 0.5)
    mixed = Sample(
        sample.labels, sample.probabilities, thresholds, sample.decisions, sample.groups, sample.parts
    )
    metrics = _measure(mixed)
    assert metrics.threshold is None
    assert metrics.per_part["hand"].threshold == 0.15
    assert metrics.sensitivity.value == 1.0
    assert metrics.specificity.value == pytest.approx(4 / 5)


def test_pointing_game_is_a_share_with_its_chance() -> None:
    outcome = pointing_game(
        hits=np.array([True, False, True, True]),
        covered=np.array([0.1, 0.2, 0.3, 0.0]),
        groups=np.array(["a", "a", "b", "c"]),
    )
    assert (outcome.pointing_game, outcome.n) == (0.75, 4)
    assert outcome.chance == pytest.approx(0.15)
    # The worst resample draws group a three times: 1 of 2; the best never draws it.
    assert (outcome.ci_low, outcome.ci_high) == (0.5, 1.0)


def test_pointing_game_in_one_group_has_no_interval() -> None:
    outcome = pointing_game(np.array([True, False]), np.array([0.1, 0.1]), np.array(["a", "a"]))
    assert (outcome.pointing_game, outcome.ci_low, outcome.ci_high) == (0.5, None, None)


def test_bins_are_equal_and_closed_at_one() -> None:
    assert probability_bins(np.array([0.0, 0.066, 0.067, 0.5, 0.9999, 1.0])).tolist() == [0, 0, 1, 7, 14, 14]


@pytest.mark.parametrize(
    ("labels", "probabilities", "expected"),
    [
        ([0, 2], [0.1, 0.2], "a label is neither 0 nor 1"),
        ([0, 1], [0.1, 1.2], r"a probability is outside \[0, 1\]"),
        ([0, 1], [0.1, math.nan], r"a probability is outside \[0, 1\]"),
        ([], [], "expected one length above 0"),
    ],
)
def test_bad_predictions_are_refused(labels: list[int], probabilities: list[float], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        _sample(labels, probabilities)
