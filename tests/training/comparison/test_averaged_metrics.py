"""Figures averaged over runs and over parts, against loops by definition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, cohen_kappa_score, roc_auc_score

from monai_bone_ssl.stats.bootstrap import cluster_bootstrap
from monai_bone_ssl.training.measure.estimates import parts_with_cases
from monai_bone_ssl.training.measure.metrics import (
    compute_metrics,
    mean_over_parts,
)
from monai_bone_ssl.training.measure.sample import Sample

LABELS = np.tile([0, 1], 66)
GROUPS = np.array([f"p{i // 4}" for i in range(132)])
# 20 of each label in hand, 40 in wrist, 6 in hip: too few.
PARTS = np.repeat(["hand", "wrist", "hip"], (40, 80, 12))


def _run(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    probabilities = np.clip(0.3 * LABELS + 0.7 * rng.random(132), 0, 1)
    decisions = np.where(probabilities >= 0.5, "positive", "negative")
    return Sample(LABELS, probabilities, np.full(132, 0.5), decisions, GROUPS, PARTS)


RUNS = [_run(seed) for seed in range(3)]


def _figures(sample: Sample, drawn: NDArray[np.int64]) -> dict[str, float]:
    y, p = sample.labels[drawn], sample.probabilities[drawn]
    return {
        "auroc": roc_auc_score(y, p),
        "accuracy": accuracy_score(y, p >= 0.5),
        "kappa": cohen_kappa_score(y, p >= 0.5),
    }


def test_value_is_the_mean_and_the_resamples_are_joint() -> None:
    """Groups are drawn once for all runs: three seeds do not make the interval of a mean of three narrower
    than patients allow."""
    metrics = compute_metrics(RUNS)
    everything = np.arange(132)
    weights = cluster_bootstrap(lambda w: w, GROUPS)[:120]
    resampled = {name: [] for name in ("auroc", "accuracy", "kappa")}
    for row in weights:
        drawn = np.repeat(everything, row.astype(int))
        each = [_figures(run, drawn) for run in RUNS]
        for name, values in resampled.items():
            values.append(np.mean([figures[name] for figures in each]))
    for name, values in resampled.items():
        estimate = getattr(metrics, name)
        assert estimate.value == pytest.approx(np.mean([_figures(run, everything)[name] for run in RUNS]))
        # 120 of the 2,000 resamples: the ends agree up to their own scatter.
        low, high = np.percentile(values, (2.5, 97.5))
        assert (estimate.ci_low, estimate.ci_high) == pytest.approx((low, high), abs=0.03)


def test_equal_runs_change_nothing() -> None:
    one, three = compute_metrics([RUNS[1]]), compute_metrics([RUNS[1]] * 3)
    for name in ("auroc", "accuracy", "kappa", "ece"):
        a, b = getattr(one, name), getattr(three, name)
        assert (a.value, a.ci_low, a.ci_high) == pytest.approx((b.value, b.ci_low, b.ci_high))


def test_mean_over_parts_counts_each_part_alike_and_leaves_small_ones_out() -> None:
    mean = mean_over_parts(RUNS)
    assert mean is not None
    assert mean.parts == parts_with_cases(RUNS[0]) == ("hand", "wrist")
    per_part = compute_metrics(RUNS).per_part
    for name in ("auroc", "accuracy", "balanced_accuracy", "kappa", "sensitivity", "specificity", "ece"):
        expected = np.mean([getattr(per_part[part], name).value for part in ("hand", "wrist")])
        estimate = getattr(mean, name)
        assert estimate.value == pytest.approx(expected)
        assert estimate.ci_low < estimate.value < estimate.ci_high


def test_no_part_with_cases_has_no_mean() -> None:
    hip = [run.take(PARTS == "hip") for run in RUNS]
    assert parts_with_cases(hip[0]) == ()
    assert mean_over_parts(hip) is None


def test_study_level_and_hardware_average_over_the_runs_too() -> None:
    studies = np.array([f"s{i // 2}" for i in range(132)])
    hardware = np.arange(132) < 10
    metrics = compute_metrics(RUNS, hardware=hardware, studies=studies)
    each = [compute_metrics([run], hardware=hardware, studies=studies) for run in RUNS]
    assert metrics.without_hardware is not None
    assert metrics.study_level is not None
    assert metrics.without_hardware.auroc.value == pytest.approx(
        np.mean([m.without_hardware.auroc.value for m in each if m.without_hardware])
    )
    assert metrics.study_level.accuracy.value == pytest.approx(
        np.mean([m.study_level.accuracy.value for m in each if m.study_level])
    )
