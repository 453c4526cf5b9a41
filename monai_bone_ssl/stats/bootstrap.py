"""Bootstrap intervals for images that come in groups: whole groups are drawn, never single images.

Images of one patient resemble each other; drawing them one by one would make intervals too narrow
(Davison & Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "cluster_bootstrap",
    "percentile_interval",
    "ratio",
    "weighted_auroc",
    "weighted_hits",
]

_RESAMPLES = 2000
_SEED = 20_180_101
# Weights of one batch of resamples: 32 MB as float64, so that a large set fits in memory.
_BATCH_ELEMENTS = 4_000_000


def cluster_bootstrap(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    groups: NDArray[np.str_],
    n_resamples: int = _RESAMPLES,
    seed: int = _SEED,
) -> NDArray[np.float64]:
    """Values of a statistic over resamples in which groups are drawn with replacement.

    Parameters
    ----------
    statistic
        Function from weights [b, n], how often each image was drawn, to values [b, ...].
    groups
        Group of each image [n].
    n_resamples
        Number of resamples.
    seed
        Seed of the draws: the same seed and groups give the same resamples.

    Returns
    -------
    numpy.ndarray
        Values [n_resamples, ...]; NaN where a resample leaves the statistic undefined, and everywhere where
        there is one group only, which says nothing about others.
    """
    names, codes = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    chances = np.full(len(names), 1 / len(names))
    batch = max(1, _BATCH_ELEMENTS // len(groups))
    values = []
    for start in range(0, n_resamples, batch):
        size = min(batch, n_resamples - start)
        drawn = rng.multinomial(len(names), chances, size=size)  # [b, groups]
        values.append(statistic(drawn[:, codes].astype(np.float64)))
    resampled = np.concatenate(values)
    return resampled if len(names) > 1 else np.full_like(resampled, np.nan)


def percentile_interval(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """95 % percentile interval over the resamples that define the statistic.

    Parameters
    ----------
    values
        One statistic over resamples [b], or several [b, k].

    Returns
    -------
    numpy.ndarray
        Low and high end, [2] or [2, k]; NaN where fewer than half of the resamples define the statistic.
    """
    columns = values.reshape(len(values), -1)
    ends = [_ends(column[~np.isnan(column)], len(values)) for column in columns.T]
    return np.array(ends).T.reshape(2, *values.shape[1:])


def _ends(defined: NDArray[np.float64], n_resamples: int) -> tuple[float, float]:
    if 2 * len(defined) < n_resamples:
        return np.nan, np.nan
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


def ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotient of two arrays of one shape, NaN where the denominator is 0."""
    quotient = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def weighted_auroc(
    weights: NDArray[np.float64], labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Area under the ROC curve for each row of weights; ties count half (Mann-Whitney).

    Parameters
    ----------
    weights
        How often each image counts [b, n].
    labels
        Label of each image, 0 or 1 [n].
    probabilities
        Probability, or any other score, of each image [n].

    Returns
    -------
    numpy.ndarray
        Areas [b]; NaN where a row of weights holds one class only.
    """
    order = np.argsort(probabilities, kind="stable")
    # Images of one probability are one step of the curve.
    steps = np.flatnonzero(np.diff(probabilities[order], prepend=-np.inf) > 0)
    sorted_weights, is_positive = weights[:, order], labels[order] == 1
    positives = np.add.reduceat(sorted_weights * is_positive, steps, axis=1)  # [b, steps]
    negatives = np.add.reduceat(sorted_weights * ~is_positive, steps, axis=1)
    negatives_below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (negatives_below + negatives / 2)).sum(axis=1)
    return ratio(wins, positives.sum(axis=1) * negatives.sum(axis=1))


def weighted_hits(
    weights: NDArray[np.float64],
    is_hit: NDArray[np.bool_],
    scores: NDArray[np.floating],
    most_false: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Hits at the lowest threshold that lets in no more false alarms than allowed, for each row of weights.

    Parameters
    ----------
    weights
        How often each event counts [b, n].
    is_hit
        Whether each event is a hit, or else a false alarm [n].
    scores
        Score of each event [n]; a threshold lets in all events of its score and above.
    most_false
        Weight of the false alarms that are allowed [b, k], for each of k limits.

    Returns
    -------
    numpy.ndarray
        Weight of the hits [b, k].
    """
    if not len(scores):
        return np.zeros(most_false.shape)
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # events of one score come in together
    sorted_weights, in_order = weights[:, order], is_hit[order]
    false = np.cumsum(np.add.reduceat(sorted_weights * ~in_order, starts, axis=1), axis=1)  # [b, steps]
    hits = np.cumsum(np.add.reduceat(sorted_weights * in_order, starts, axis=1), axis=1)
    hits = np.pad(hits, ((0, 0), (1, 0)))  # no event let in
    limits = most_false + 1e-9  # rounding
    steps = [np.count_nonzero(false <= limit[:, None], axis=1) for limit in limits.T]
    return np.take_along_axis(hits, np.stack(steps, axis=1), axis=1)
