"""Is one model better than another on the same images? Two tests, and an interval that respects patients.

McNemar's and DeLong's tests take images as independent. Images of one patient are not, so that the p-values
are too small where patients have many images; the interval of the cluster bootstrap has no such fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, rankdata

from monai_bone_ssl.stats.bootstrap import cluster_bootstrap, percentile_interval
from monai_bone_ssl.training.measure.estimates import (
    FIGURES,
    Estimate,
    estimate,
    parts_with_cases,
    weighted_figures,
    weighted_part_means,
)
from monai_bone_ssl.training.measure.sample import Sample

__all__ = ["Differences", "McNemar", "PairedComparison", "PairedDeLong", "compare_pair", "delong", "mcnemar"]

Floats = NDArray[np.float64]

_COMPARED = ("accuracy", "auroc")
_COLUMNS = [FIGURES.index(name) for name in _COMPARED]


class McNemar(msgspec.Struct, frozen=True):
    """McNemar's test (1947, doi:10.1007/BF02295996), exact: are two error rates the same?"""

    only_first_right: int
    """Images that only the first model gets right."""
    only_second_right: int
    """Images that only the second model gets right."""
    p_value: float
    """Two-sided binomial probability of such a split of the images on which one of the two is right."""


class PairedDeLong(msgspec.Struct, frozen=True):
    """DeLong's test (1988, doi:10.2307/2531595) of two AUROCs measured on the same images."""

    first: float
    """The first model's AUROC."""
    second: float
    """The second model's AUROC."""
    standard_error: float
    """Standard error of the difference."""
    p_value: float
    """Two-sided p-value from the normal distribution."""


class Differences(msgspec.Struct, frozen=True):
    """Differences of figures, the first model's minus the second's."""

    accuracy: Estimate
    """Difference of the accuracies."""
    auroc: Estimate
    """Difference of the areas under the ROC curve."""


class PairedComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One model against another on the same images (or studies)."""

    n_runs: int
    """Number of runs (seeds) that both models have; the differences are means over the runs."""
    all: Differences
    """Differences over all images."""
    mean_over_parts: Differences | None
    """Differences of the means over the parts with cases enough; None where no part has enough."""
    per_part: dict[str, Differences]
    """Differences over the images of each body part."""
    mcnemar: McNemar
    """Test of the first run's error rates, over all images."""
    delong: PairedDeLong | None
    """Test of the first run's AUROCs, over all images; None where a class has fewer than two images."""


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """Compare two error rates.

    Parameters
    ----------
    first_right, second_right
        Whether each model is right about each of n images [n].
    """
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return McNemar(only_first, only_second, p_value)


def delong(labels: NDArray[np.int64], first: Floats, second: Floats) -> PairedDeLong | None:
    """Compare two AUROCs, by the midranks of Sun and Xu (2014, doi:10.1109/LSP.2014.2337313).

    Parameters
    ----------
    labels
        Labels [n], 0 or 1.
    first, second
        Scores of the first and of the second model [n]; ties count half.

    Returns
    -------
    Outcome; None where a class has fewer than two images, and so no variance.
    """
    positive = labels == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        return None
    scores = np.stack((first, second))
    cases, controls = scores[:, positive], scores[:, ~positive]
    ranks = rankdata(scores, axis=1)
    # Share of the controls below each case [2, m], and of the cases above each control [2, n].
    of_cases = (ranks[:, positive] - rankdata(cases, axis=1)) / n
    of_controls = 1 - (ranks[:, ~positive] - rankdata(controls, axis=1)) / m
    aurocs = of_cases.mean(axis=1)
    covariance = np.cov(of_cases) / m + np.cov(of_controls) / n
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    error = float(np.sqrt(max(0.0, variance)))
    return PairedDeLong(float(aurocs[0]), float(aurocs[1]), error, _two_sided(aurocs[0] - aurocs[1], error))


def _two_sided(difference: float, error: float) -> float:
    # Where two models rank all images alike, rounding leaves a standard error of about 1e-17.
    if error < 1e-12:
        return 1.0 if abs(difference) < 1e-12 else 0.0
    return float(2 * norm.sf(abs(difference) / error))


def compare_pair(first: Sequence[Sample], second: Sequence[Sample]) -> PairedComparison:
    """Differences between two models, and both tests.

    Parameters
    ----------
    first, second
        Predictions of both models for the same images, run by run; see
        :func:`~monai_bone_ssl.training.measure.metrics.compute_metrics`.
    """
    one, other = first[0], second[0]
    parts = parts_with_cases(one)
    mean = None
    if parts:
        mean = _differences(
            partial(weighted_part_means, first, parts),
            partial(weighted_part_means, second, parts),
            one.groups,
        )
    return PairedComparison(
        n_runs=len(first),
        all=_of_images(first, second, np.ones(len(one), dtype=np.bool_)),
        mean_over_parts=mean,
        per_part={str(p): _of_images(first, second, one.parts == p) for p in np.unique(one.parts)},
        mcnemar=mcnemar(_right(one), _right(other)),
        delong=delong(one.labels, one.probabilities, other.probabilities),
    )


def _right(sample: Sample) -> NDArray[np.bool_]:
    return np.asarray((sample.probabilities >= sample.thresholds) == (sample.labels == 1))


def _of_images(first: Sequence[Sample], second: Sequence[Sample], images: NDArray[np.bool_]) -> Differences:
    one, other = ([sample.take(images) for sample in runs] for runs in (first, second))
    return _differences(partial(weighted_figures, one), partial(weighted_figures, other), one[0].groups)


def _differences(
    first: Callable[[Floats], Floats], second: Callable[[Floats], Floats], groups: NDArray[np.str_]
) -> Differences:
    """Differences of two statistics over the same resamples; each maps weights [b, n] to figures [b, 10]."""

    def difference(weights: Floats) -> Floats:
        return (first(weights) - second(weights))[:, _COLUMNS]

    values = difference(np.ones((1, len(groups))))[0]
    low, high = percentile_interval(cluster_bootstrap(difference, groups))
    accuracy, auroc = (
        estimate(values[i], low[i], high[i], "needs positive and negative cases")
        for i in range(len(_COLUMNS))
    )
    return Differences(accuracy, auroc)
