"""Figures of a binary classifier with their 95 % intervals, from labels and predictions of grouped images.

Point values and resamples go through the same weighted counts; scikit-learn is the oracle of the tests.
Intervals: percentile bootstrap, 2,000 resamples of whole groups, fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.findings import Decision
from monai_bone_ssl.stats.bootstrap import (
    cluster_bootstrap,
    percentile_interval,
    ratio,
    weighted_auroc,
    weighted_hits,
)
from monai_bone_ssl.stats.within_cells import MIN_CASES_IN_CELL, weighted_auroc_within_cells
from monai_bone_ssl.training.measure.sample import Sample

__all__ = [
    "FIGURES",
    "MIN_CASES_TO_MEASURE",
    "N_BINS",
    "TOO_FEW_GROUPS",
    "Estimate",
    "estimate",
    "estimate_figures",
    "parts_with_cases",
    "probability_bins",
    "weighted_figures",
    "weighted_part_means",
]

Floats = NDArray[np.float64]

#: Number of bins of equal width of the probability, for the calibration error and the reliability diagram.
N_BINS = 15

#: A part with fewer positive or negative images says too little by itself: it gets no ROC curve, pale bars,
#: and no share in the mean over parts.
MIN_CASES_TO_MEASURE = 20

#: Why a figure has no interval.
TOO_FEW_GROUPS = "too few groups for an interval"

# Each figure, and why it may be undefined.
_UNDEFINED = {
    "auroc": "needs positive and negative cases",
    "auroc_within_cells": "no cell of one acquisition range and body part with "
    f"{MIN_CASES_IN_CELL} positive and {MIN_CASES_IN_CELL} negative cases",
    "accuracy": "",
    "balanced_accuracy": "needs positive and negative cases",
    "kappa": "all labels and all decisions are of one class",
    "sensitivity": "no positive cases",
    "specificity": "no negative cases",
    "sensitivity_at_specificity_85": "needs positive and negative cases",
    "sensitivity_at_specificity_90": "needs positive and negative cases",
    "ece": "",
    "indeterminate": "",
    "sensitivity_at_high_sensitivity": "no positive cases",
    "specificity_at_high_specificity": "no negative cases",
}
#: Names of the columns of :func:`weighted_figures`.
FIGURES = tuple(_UNDEFINED)
_ECE = FIGURES.index("ece")
# Specificities of the figures sensitivity_at_specificity_85 and _90.
_SPECIFICITIES = np.array([0.85, 0.90])


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A figure with its 95 % interval; None where undefined, with the reason."""

    value: float | None
    """The figure; None where it is undefined."""
    ci_low: float | None
    """Lower end of the interval; None where there is none."""
    ci_high: float | None
    """Upper end of the interval; None where there is none."""
    reason: str | None = None
    """Why the value or the interval is None; None where both are given."""


def estimate(value: float, low: float, high: float, undefined: str) -> Estimate:
    """A figure with its interval.

    Parameters
    ----------
    value
        The figure; NaN where it is undefined.
    low, high
        Ends of the interval; NaN where there is none.
    undefined
        Reason to give where the figure is undefined.
    """
    if np.isnan(value):
        return Estimate(None, None, None, undefined)
    if np.isnan(low):
        return Estimate(float(value), None, None, TOO_FEW_GROUPS)
    return Estimate(float(value), float(low), float(high))


def estimate_figures(statistic: Callable[[Floats], Floats], groups: NDArray[np.str_]) -> dict[str, Estimate]:
    """Each of :data:`FIGURES` with its interval.

    Parameters
    ----------
    statistic
        Function of weights [b, n] that returns :data:`FIGURES` [b, figures].
    groups
        Groups [n], which resamples draw as wholes.
    """
    values = statistic(np.ones((1, len(groups))))[0]
    resampled = cluster_bootstrap(statistic, groups)  # [resamples, figures]
    calibration = resampled[:, _ECE]
    defined = calibration[~np.isnan(calibration)]
    if len(defined):
        resampled[:, _ECE] -= defined.mean() - values[_ECE]
    low, high = percentile_interval(resampled)
    low[_ECE] = np.maximum(0.0, low[_ECE])  # keeps NaN
    return {
        name: estimate(values[i], low[i], high[i], undefined)
        for i, (name, undefined) in enumerate(_UNDEFINED.items())
    }


def parts_with_cases(sample: Sample) -> tuple[str, ...]:
    """Parts with :data:`MIN_CASES_TO_MEASURE` positive and negative entries, in alphabetical order."""
    names = np.unique(sample.parts)
    cases = [np.bincount(sample.labels[sample.parts == part], minlength=2).min() for part in names]
    enough = zip(names, cases, strict=True)
    return tuple(str(part) for part, count in enough if count >= MIN_CASES_TO_MEASURE)


def weighted_part_means(runs: Sequence[Sample], parts: Sequence[str], weights: Floats) -> Floats:
    """:func:`weighted_figures` of each part, averaged over the parts: weights [b, n] to [b, figures]."""
    figures = []
    for part in parts:
        images = runs[0].parts == part
        figures.append(weighted_figures([sample.take(images) for sample in runs], weights[:, images]))
    return np.asarray(np.mean(figures, axis=0))


def weighted_figures(runs: Sequence[Sample], weights: Floats) -> Floats:
    """:data:`FIGURES` averaged over the runs, for each row of weights.

    Parameters
    ----------
    runs
        Predictions of the same n images.
    weights
        How often each image counts [b, n].

    Returns
    -------
    Figures [b, figures]; NaN where undefined.
    """
    return np.asarray(np.mean([_figures_of_run(sample, weights) for sample in runs], axis=0))


def _figures_of_run(sample: Sample, weights: Floats) -> Floats:
    positive = sample.labels == 1
    called = sample.probabilities >= sample.thresholds
    undecided = sample.decisions == Decision.INDETERMINATE
    not_negative = sample.decisions != Decision.NEGATIVE
    not_positive = sample.decisions != Decision.POSITIVE
    columns = (
        positive & called,
        positive & ~called,
        ~positive & called,
        ~positive & ~called,
        undecided,
        positive & not_negative,
        ~positive & not_positive,
    )
    tp, fn, fp, tn, n_undecided, n_not_missed, n_not_alarmed = (
        weights @ np.stack(columns, axis=1).astype(np.float64)
    ).T
    n, n_positive, n_negative = weights.sum(axis=1), tp + fn, tn + fp
    most_false = n_negative[:, None] * (1 - _SPECIFICITIES)
    at_specificities = weighted_hits(weights, positive, sample.probabilities, most_false)
    sensitivity, specificity = ratio(tp, n_positive), ratio(tn, n_negative)
    figures = (
        weighted_auroc(weights, sample.labels, sample.probabilities),
        _auroc_within_cells(sample, weights),
        ratio(tp + tn, n),
        (sensitivity + specificity) / 2,
        ratio(2 * (tp * tn - fn * fp), (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)),
        sensitivity,
        specificity,
        *(_where_both(ratio(hits, n_positive), n_negative) for hits in at_specificities.T),
        _calibration_error(sample, weights),
        ratio(n_undecided, n),
        ratio(n_not_missed, n_positive),
        ratio(n_not_alarmed, n_negative),
    )
    return np.stack(figures, axis=1)


def _auroc_within_cells(sample: Sample, weights: Floats) -> Floats:
    if sample.cells is None:
        return np.full(len(weights), np.nan)
    return weighted_auroc_within_cells(weights, sample.labels, sample.probabilities, sample.cells)


def _where_both(sensitivity: Floats, n_negative: Floats) -> Floats:
    """A sensitivity [b] at a specificity, which takes negative cases."""
    return np.where(n_negative > 0, sensitivity, np.nan)


def _calibration_error(sample: Sample, weights: Floats) -> Floats:
    in_bin = probability_bins(sample.probabilities)[:, None] == np.arange(N_BINS)  # [n, bins]
    excess = in_bin * (sample.probabilities - sample.labels)[:, None]
    return ratio(np.abs(weights @ excess).sum(axis=1), weights.sum(axis=1))


def probability_bins(probabilities: Floats) -> NDArray[np.int64]:
    """Number [n] of each probability's bin, from 0: bins of equal width, the last one closed on the right."""
    return np.minimum((probabilities * N_BINS).astype(np.int64), N_BINS - 1)
