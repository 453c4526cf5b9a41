"""Figures of a binary classifier on grouped images, each with a 95 % interval (contract C4).

Point values and resamples go through the same weighted counts; scikit-learn is the oracle of the tests.
Intervals: percentile bootstrap, 2,000 resamples of whole groups, fixed seed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.findings import Decision
from monai_bone_ssl.training.bootstrap import cluster_bootstrap, percentile_interval, ratio
from monai_bone_ssl.training.sample import Sample, merge_studies

__all__ = [
    "N_BINS",
    "BinaryMetrics",
    "Estimate",
    "Localisation",
    "Metrics",
    "MetricsByPart",
    "compute_metrics",
    "pointing_game",
    "probability_bins",
    "weighted_auroc",
]

#: Equal-width bins of the probability for the calibration error and the reliability diagram.
N_BINS = 15

Floats = NDArray[np.float64]


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A figure with its 95 % interval; None where undefined, with the reason."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    reason: str | None = None


class BinaryMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over one set of images (or studies)."""

    n: int
    n_positive: int
    n_groups: int
    """Groups (patients) drawn as wholes for the intervals."""
    threshold: float | None
    """Probability from which accuracy, balanced accuracy, kappa, sensitivity and specificity count an
    image as positive; None where it differs between the parts."""
    auroc: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    kappa: Estimate
    """Cohen's kappa between label and thresholded probability."""
    sensitivity: Estimate
    specificity: Estimate
    ece: Estimate
    """Expected calibration error: mean distance between the mean probability and the share of positives
    over 15 equal-width bins, weighted by their images. Few images make it larger, and resampling makes it
    larger still; its interval is therefore the percentile interval moved by that mean excess."""
    indeterminate: Estimate
    """Share of the images that the model leaves undecided."""
    sensitivity_at_high_sensitivity: Estimate
    """Share of the positive images that are not called negative."""
    specificity_at_high_specificity: Estimate
    """Share of the negative images that are not called positive."""


class MetricsByPart(BinaryMetrics, frozen=True, kw_only=True):
    """Figures over all parts, and part by part."""

    per_part: dict[str, BinaryMetrics]


class Localisation(msgspec.Struct, frozen=True, kw_only=True):
    """Pointing game (Zhang et al. 2018, doi:10.1007/s11263-017-1059-x), without their 15 pixel tolerance."""

    pointing_game: float
    """Share of the positive images with boxes whose evidence peaks inside one of them."""
    ci_low: float | None
    ci_high: float | None
    n: int
    chance: float
    """The same share for a point drawn at random: mean share of the image that its boxes cover."""


class Metrics(MetricsByPart, frozen=True, kw_only=True):
    """Everything that an evaluation measures; metrics.json holds these keys."""

    without_hardware: BinaryMetrics | None
    """Images without implants or fixation; None where nobody noted hardware."""
    study_level: MetricsByPart | None
    """One probability a study, the mean of its images' (Rajpurkar et al. 2018, arXiv:1712.06957); the three
    states as the product reports them, the most severe image's. None where studies are unknown."""
    localisation: Localisation | None
    """None where nothing is outlined."""


def compute_metrics(
    sample: Sample,
    *,
    hardware: NDArray[np.bool_] | None = None,
    studies: NDArray[np.str_] | None = None,
    localisation: Localisation | None = None,
) -> Metrics:
    """All figures of contract C4.

    Parameters
    ----------
    sample
        Labels and predictions of n images.
    hardware
        Whether implants or fixation are visible [n]; None where nobody noted it.
    studies
        Study of each image [n]; None where studies are unknown.
    localisation
        Outcome of the pointing game, passed through.

    Returns
    -------
    Metrics
    """
    return Metrics(
        **_figures(sample),
        per_part=_per_part(sample),
        without_hardware=None if hardware is None or hardware.all() else _metrics(sample.take(~hardware)),
        study_level=None if studies is None else _study_level(sample, studies),
        localisation=localisation,
    )


def pointing_game(hits: NDArray[np.bool_], covered: Floats, groups: NDArray[np.str_]) -> Localisation:
    """Outcome of the pointing game.

    Parameters
    ----------
    hits
        Whether the peak lies in a box, for each positive image with boxes [n].
    covered
        Share of each of those images that its boxes cover [n].
    groups
        Their groups [n].
    """

    def share(weights: Floats) -> Floats:
        return ratio(weights @ hits.astype(np.float64), weights.sum(axis=1))

    low, high = percentile_interval(cluster_bootstrap(share, groups))
    estimate = _estimate(float(hits.mean()), float(low), float(high), "")
    return Localisation(
        pointing_game=float(hits.mean()),
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        n=len(hits),
        chance=float(covered.mean()),
    )


def weighted_auroc(weights: Floats, labels: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Area under the ROC curve for each row of weights; ties count half (Mann-Whitney).

    Parameters
    ----------
    weights
        How often each image counts [b, n].
    labels, probabilities
        [n] each.

    Returns
    -------
    numpy.ndarray
        [b]; NaN where a row holds one class only.
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


def probability_bins(probabilities: Floats) -> NDArray[np.int64]:
    """Bin of each probability: :data:`N_BINS` of equal width, the last one closed on the right."""
    return np.minimum((probabilities * N_BINS).astype(np.int64), N_BINS - 1)


def _per_part(sample: Sample) -> dict[str, BinaryMetrics]:
    return {str(part): _metrics(sample.take(sample.parts == part)) for part in np.unique(sample.parts)}


def _study_level(sample: Sample, studies: NDArray[np.str_]) -> MetricsByPart:
    merged = merge_studies(sample, studies)
    return MetricsByPart(**_figures(merged), per_part=_per_part(merged))


def _metrics(sample: Sample) -> BinaryMetrics:
    return BinaryMetrics(**_figures(sample))


def _figures(sample: Sample) -> dict[str, Any]:
    """Fields of :class:`BinaryMetrics`."""
    thresholds = np.unique(sample.thresholds)
    return {
        "n": len(sample),
        "n_positive": int(sample.labels.sum()),
        "n_groups": len(np.unique(sample.groups)),
        "threshold": float(thresholds[0]) if len(thresholds) == 1 else None,
    } | _estimates(sample)


#: Each figure, and why it may be undefined.
_UNDEFINED = {
    "auroc": "needs positive and negative cases",
    "accuracy": "",
    "balanced_accuracy": "needs positive and negative cases",
    "kappa": "all labels and all decisions are of one class",
    "sensitivity": "no positive cases",
    "specificity": "no negative cases",
    "ece": "",
    "indeterminate": "",
    "sensitivity_at_high_sensitivity": "no positive cases",
    "specificity_at_high_specificity": "no negative cases",
}
_ECE = list(_UNDEFINED).index("ece")


def _estimates(sample: Sample) -> dict[str, Estimate]:
    values = _statistics(sample, np.ones((1, len(sample))))[0]
    resampled = cluster_bootstrap(partial(_statistics, sample), sample.groups)  # [resamples, figures]
    resampled[:, _ECE] -= resampled[:, _ECE].mean() - values[_ECE]
    low, high = percentile_interval(resampled)
    low[_ECE] = np.maximum(0.0, low[_ECE])  # keeps NaN
    return {
        name: _estimate(values[i], low[i], high[i], undefined)
        for i, (name, undefined) in enumerate(_UNDEFINED.items())
    }


def _statistics(sample: Sample, weights: Floats) -> Floats:
    """Every figure of ``_UNDEFINED``, in its order, for each row of weights [b, n] -> [b, 10]."""
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
    n = weights.sum(axis=1)
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    figures = (
        weighted_auroc(weights, sample.labels, sample.probabilities),
        ratio(tp + tn, n),
        (sensitivity + specificity) / 2,
        ratio(2 * (tp * tn - fn * fp), (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)),
        sensitivity,
        specificity,
        _calibration_error(sample, weights),
        ratio(n_undecided, n),
        ratio(n_not_missed, tp + fn),
        ratio(n_not_alarmed, tn + fp),
    )
    return np.stack(figures, axis=1)


def _calibration_error(sample: Sample, weights: Floats) -> Floats:
    in_bin = probability_bins(sample.probabilities)[:, None] == np.arange(N_BINS)  # [n, bins]
    excess = in_bin * (sample.probabilities - sample.labels)[:, None]
    return ratio(np.abs(weights @ excess).sum(axis=1), weights.sum(axis=1))


def _estimate(value: float, low: float, high: float, undefined: str) -> Estimate:
    if np.isnan(value):
        return Estimate(None, None, None, undefined)
    if np.isnan(low):
        return Estimate(float(value), None, None, "too few groups for an interval")
    return Estimate(float(value), float(low), float(high))
