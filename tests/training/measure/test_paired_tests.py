"""Paired tests against naive versions by definition, closed forms and loops over scikit-learn."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import accuracy_score, roc_auc_score

from monai_bone_ssl.stats.bootstrap import cluster_bootstrap
from monai_bone_ssl.training.measure.paired_tests import compare_pair, delong, mcnemar
from monai_bone_ssl.training.measure.sample import Sample

Floats = NDArray[np.float64]


def _flags(*counts: tuple[bool, bool, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    rows = [(first, second) for first, second, n in counts for _ in range(n)]
    first, second = np.array(rows).T
    return first, second


def _naive_p(b: int, c: int) -> float:
    """Chance of a split of b + c coin flips that is no more likely than the one seen."""
    chances = [comb(b + c, k) / 2 ** (b + c) for k in range(b + c + 1)]
    return sum(chance for chance in chances if chance <= chances[b] * (1 + 1e-9))


@pytest.mark.parametrize(("b", "c"), [(1, 8), (8, 1), (3, 4), (0, 6), (12, 12), (2, 0)])
def test_mcnemar_is_the_binomial_of_the_discordant_images(b: int, c: int) -> None:
    test = mcnemar(*_flags((True, True, 30), (True, False, b), (False, True, c), (False, False, 5)))
    assert (test.only_first_right, test.only_second_right) == (b, c)
    assert test.p_value == pytest.approx(_naive_p(b, c))


def test_mcnemar_by_hand() -> None:
    # 1 against 8: 2 * (1 + 9) / 2^9.
    assert mcnemar(*_flags((True, False, 1), (False, True, 8))).p_value == pytest.approx(20 / 512)


def test_mcnemar_without_a_discordant_image_says_nothing() -> None:
    assert mcnemar(*_flags((True, True, 4), (False, False, 2))).p_value == 1.0


def _naive_delong(labels: NDArray[np.int64], first: Floats, second: Floats) -> tuple[float, float, float]:
    """DeLong, DeLong & Clarke-Pearson 1988, equations 2 to 6, pair by pair."""
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    m, n = len(positives), len(negatives)
    kernels = []
    for scores in (first, second):
        kernel = np.empty((m, n))
        for i, x in enumerate(positives):
            for j, y in enumerate(negatives):
                kernel[i, j] = 1.0 if scores[x] > scores[y] else 0.5 if scores[x] == scores[y] else 0.0
        kernels.append(kernel)
    thetas = [kernel.sum() / (m * n) for kernel in kernels]
    s10, s01 = np.zeros((2, 2)), np.zeros((2, 2))
    for r in range(2):
        for s in range(2):
            for i in range(m):
                vr, vs = kernels[r][i].sum() / n - thetas[r], kernels[s][i].sum() / n - thetas[s]
                s10[r, s] += vr * vs / (m - 1)
            for j in range(n):
                vr, vs = kernels[r][:, j].sum() / m - thetas[r], kernels[s][:, j].sum() / m - thetas[s]
                s01[r, s] += vr * vs / (n - 1)
    covariance = s10 / m + s01 / n
    contrast = np.array([1.0, -1.0])
    return thetas[0], thetas[1], float(np.sqrt(contrast @ covariance @ contrast))


@pytest.mark.parametrize("seed", range(6))
def test_delong_agrees_with_its_definition_also_under_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], (17, 11)))
    first = np.round(labels + rng.normal(size=28), 1 if seed % 2 else 0)
    second = np.round(first + rng.normal(size=28), 1)
    one, other, error = _naive_delong(labels, first, second)
    test = delong(labels, first, second)
    assert test is not None
    assert (test.first, test.second) == pytest.approx((one, other))
    assert test.first == pytest.approx(roc_auc_score(labels, first))
    assert test.standard_error == pytest.approx(error)
    assert test.p_value == pytest.approx(2 * norm.cdf(-abs(one - other) / error))


def test_delong_in_closed_form() -> None:
    # The first ranks 4 of 4 pairs right, the second 3 of 4: its case at 0.4 lies below one control.
    # Its shares are (1, 1/2) by case and (1/2, 1) by control; the first's are all 1. So the variance of the
    # difference is (1/8) / 2 + (1/8) / 2 = 1/8, and z = 0.25 / sqrt(1/8) = sqrt(1/2).
    test = delong(np.array([1, 1, 0, 0]), np.array([0.9, 0.8, 0.1, 0.2]), np.array([0.9, 0.4, 0.5, 0.2]))
    assert test is not None
    assert (test.first, test.second) == (1.0, 0.75)
    assert test.standard_error == pytest.approx(np.sqrt(1 / 8))
    assert test.p_value == pytest.approx(2 * norm.cdf(-np.sqrt(1 / 2)))


def test_delong_of_one_ranking_is_no_difference() -> None:
    labels = np.array([0, 1, 0, 1, 1, 0, 0])
    scores = np.array([0.1, 0.4, 0.35, 0.8, 0.3, 0.6, 0.3])
    test = delong(labels, scores, scores**3)
    assert test is not None
    assert (test.standard_error, test.p_value) == (0.0, 1.0)


def test_delong_of_perfect_against_perfectly_wrong_is_certain() -> None:
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    test = delong(labels, scores, 1 - scores)
    assert test is not None
    assert (test.first, test.second, test.p_value) == (1.0, 0.0, 0.0)


def test_delong_needs_two_of_each() -> None:
    assert delong(np.array([1, 0, 0]), np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.2, 0.1])) is None


def test_delong_keeps_its_level_under_the_null() -> None:
    """Two equally good, correlated scores: about 5 % of the tests are below 0.05."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    below = 0
    for _ in range(600):
        common = labels + rng.normal(size=120)
        test = delong(labels, common + rng.normal(size=120), common + rng.normal(size=120))
        assert test is not None
        below += test.p_value < 0.05
    assert 0.025 < below / 600 < 0.08  # 5 % within three standard errors of 0.9 %


# --- differences ---


def _runs(seed: int, sharpness: float) -> list[Sample]:
    """Two runs over 120 images of 30 patients and two parts with at least 20 of each class."""
    rng = np.random.default_rng(99)
    labels = np.tile([0, 1], 60)
    groups = np.array([f"p{i}" for i in rng.integers(0, 30, 120)])
    parts = np.repeat(["elbow", "wrist"], (50, 70))
    noise = np.random.default_rng(seed)
    runs = []
    for _ in range(2):
        probabilities = 1 / (1 + np.exp(-sharpness * (labels - 0.5) - noise.normal(size=120)))
        decisions = np.where(probabilities >= 0.5, "positive", "negative")
        runs.append(Sample(labels, probabilities, np.full(120, 0.5), decisions, groups, parts))
    return runs


def _loop(first: list[Sample], second: list[Sample], part: str | None = None) -> NDArray[np.float64]:
    """Accuracy and AUROC differences of every resample by scikit-learn, [resamples, 2]."""
    one = first[0]
    here = np.ones(120, dtype=bool) if part is None else one.parts == part
    weights = cluster_bootstrap(lambda w: w, one.groups[here])
    return _differences_by_loop(first, second, here, weights)


def _differences_by_loop(
    first: list[Sample], second: list[Sample], here: NDArray[np.bool_], weights: Floats
) -> NDArray[np.float64]:
    y = first[0].labels[here]
    rows = []
    for weight in weights:
        drawn = np.repeat(np.arange(len(y)), weight.astype(int))
        row = []
        for measure in (lambda t, p: accuracy_score(t, p >= 0.5), roc_auc_score):
            means = [
                np.mean([measure(y[drawn], run.probabilities[here][drawn]) for run in runs])
                for runs in (first, second)
            ]
            row.append(means[0] - means[1])
        rows.append(row)
    return np.array(rows)


def test_differences_agree_with_loops_over_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_bootstrap, "__defaults__", (40, 20_180_101))  # loops are slow
    first, second = _runs(1, 2.0), _runs(2, 1.2)
    compared = compare_pair(first, second)
    everything = np.ones((1, 120))
    for block, part in ((compared.all, None), *((compared.per_part[p], p) for p in ("elbow", "wrist"))):
        here = np.ones(120, dtype=bool) if part is None else first[0].parts == part
        values = _differences_by_loop(first, second, here, everything[:, here])[0]
        low, high = np.percentile(_loop(first, second, part), (2.5, 97.5), axis=0)
        for i, found in enumerate((block.accuracy, block.auroc)):
            assert (found.value, found.ci_low, found.ci_high) == pytest.approx((values[i], low[i], high[i]))
    assert compared.n_runs == 2


def test_mean_over_parts_draws_patients_once_for_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_bootstrap, "__defaults__", (40, 20_180_101))
    first, second = _runs(1, 2.0), _runs(2, 1.2)
    weights = cluster_bootstrap(lambda w: w, first[0].groups)
    by_part = []
    for part in ("elbow", "wrist"):
        here = first[0].parts == part
        by_part.append(_differences_by_loop(first, second, here, weights[:, here]))
    low, high = np.percentile(np.mean(by_part, axis=0), (2.5, 97.5), axis=0)
    mean = compare_pair(first, second).mean_over_parts
    assert mean is not None
    assert (mean.accuracy.ci_low, mean.accuracy.ci_high) == pytest.approx((low[0], high[0]))
    assert (mean.auroc.ci_low, mean.auroc.ci_high) == pytest.approx((low[1], high[1]))


def test_a_model_against_itself_is_zero_with_certainty() -> None:
    runs = _runs(3, 1.0)
    compared = compare_pair(runs, runs)
    for block in (compared.all, *compared.per_part.values()):
        assert (block.accuracy.value, block.accuracy.ci_low, block.accuracy.ci_high) == (0.0, 0.0, 0.0)
    assert (compared.mcnemar.p_value, compared.delong.p_value if compared.delong else None) == (1.0, 1.0)
