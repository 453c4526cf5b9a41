"""Figures of a binary classifier on grouped images, each with a 95 % interval (contract C4).

Point values and resamples go through the same weighted counts; scikit-learn is the oracle of the tests.
Intervals: percentile bootstrap, 2,000 resamples of whole groups, fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.findings import Decision
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap, percentile_interval, ratio, weighted_auroc
from monai_bone_ssl.training.measure.localisation import Localisation
from monai_bone_ssl.training.measure.sample import Sample, merge_studies

__all__ = [
    "FIGURES",
    "MIN_CASES",
    "N_BINS",
    "BinaryMetrics",
    "Estimate",
    "MeanOverParts",
    "Metrics",
    "MetricsByPart",
    "average_metrics",
    "compute_metrics",
    "estimate",
    "mean_over_parts",
    "parts_with_cases",
    "probability_bins",
    "weighted_figures",
    "weighted_part_means",
]

#: Equal-width bins of the probability for the calibration error and the reliability diagram.
N_BINS = 15

#: A part with fewer positive or negative images says too little on its own: it gets no ROC curve, pale bars,
#: and no share in the mean over parts.
MIN_CASES = 20

Floats = NDArray[np.float64]


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


class BinaryMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over one set of images (or studies)."""

    n: int
    """Images (or studies)."""
    n_positive: int
    """Those with label 1."""
    n_groups: int
    """Groups (patients) drawn as wholes for the intervals."""
    threshold: float | None
    """Probability from which accuracy, balanced accuracy, kappa, sensitivity and specificity count an
    image as positive; None where it differs between the parts."""
    auroc: Estimate
    """Area under the ROC curve; ties count half."""
    accuracy: Estimate
    """Share of the images whose thresholded probability is the label."""
    balanced_accuracy: Estimate
    """Mean of sensitivity and specificity."""
    kappa: Estimate
    """Cohen's kappa between label and thresholded probability."""
    sensitivity: Estimate
    """Share of the positive images whose probability reaches the threshold."""
    specificity: Estimate
    """Share of the negative images whose probability does not."""
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


class MeanOverParts(msgspec.Struct, frozen=True, kw_only=True):
    """Mean of the parts' figures, each part counting alike, however many images it has."""

    parts: tuple[str, ...]
    """Those with :data:`MIN_CASES` positive and negative images."""
    auroc: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    kappa: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ece: Estimate


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
    return average_metrics([sample], hardware=hardware, studies=studies, localisation=localisation)


def average_metrics(
    runs: Sequence[Sample],
    *,
    hardware: NDArray[np.bool_] | None = None,
    studies: NDArray[np.str_] | None = None,
    localisation: Localisation | None = None,
) -> Metrics:
    """The same for several runs over the same images: each figure is the mean of the runs' figures.

    Parameters
    ----------
    runs
        Predictions of the same n images, for instance out of fold under several seeds. A resample draws the
        groups once for all runs: seeds are no further patients.
    hardware, studies, localisation
        See :func:`compute_metrics`.
    """
    without_hardware = None
    if hardware is not None and not hardware.all():
        without_hardware = _metrics(_take(runs, ~hardware))
    return Metrics(
        **_figures(runs),
        per_part=_per_part(runs),
        without_hardware=without_hardware,
        study_level=None if studies is None else _study_level(runs, studies),
        localisation=localisation,
    )


def mean_over_parts(runs: Sequence[Sample]) -> MeanOverParts | None:
    """Mean over the parts with cases enough, each figure averaged over the runs; None where none has enough.

    Parameters
    ----------
    runs
        As for :func:`average_metrics`.
    """
    parts = parts_with_cases(runs[0])
    if not parts:
        return None
    estimates = _estimates(partial(weighted_part_means, runs, parts), runs[0].groups)
    names = MeanOverParts.__struct_fields__
    return MeanOverParts(parts=parts, **{name: estimates[name] for name in names if name != "parts"})


def parts_with_cases(sample: Sample) -> tuple[str, ...]:
    """Parts with :data:`MIN_CASES` positive and negative entries, in alphabetical order."""
    names = np.unique(sample.parts)
    cases = [np.bincount(sample.labels[sample.parts == part], minlength=2).min() for part in names]
    return tuple(str(part) for part, count in zip(names, cases, strict=True) if count >= MIN_CASES)


def weighted_part_means(runs: Sequence[Sample], parts: Sequence[str], weights: Floats) -> Floats:
    """:func:`weighted_figures` of each part, averaged over the parts: [b, n] -> [b, 10]."""
    rows = [runs[0].parts == part for part in parts]
    figures = [weighted_figures(_take(runs, row), weights[:, row]) for row in rows]
    return np.asarray(np.mean(figures, axis=0))


def probability_bins(probabilities: Floats) -> NDArray[np.int64]:
    """Bin of each probability: :data:`N_BINS` of equal width, the last one closed on the right."""
    return np.minimum((probabilities * N_BINS).astype(np.int64), N_BINS - 1)


def _take(runs: Sequence[Sample], index: NDArray[np.bool_]) -> list[Sample]:
    return [sample.take(index) for sample in runs]


def _per_part(runs: Sequence[Sample]) -> dict[str, BinaryMetrics]:
    parts = runs[0].parts
    return {str(part): _metrics(_take(runs, parts == part)) for part in np.unique(parts)}


def _study_level(runs: Sequence[Sample], studies: NDArray[np.str_]) -> MetricsByPart:
    merged = [merge_studies(sample, studies) for sample in runs]
    return MetricsByPart(**_figures(merged), per_part=_per_part(merged))


def _metrics(runs: Sequence[Sample]) -> BinaryMetrics:
    return BinaryMetrics(**_figures(runs))


def _figures(runs: Sequence[Sample]) -> dict[str, Any]:
    """Fields of :class:`BinaryMetrics`."""
    sample = runs[0]  # the runs differ in their predictions only
    thresholds = np.unique(sample.thresholds)
    return {
        "n": len(sample),
        "n_positive": int(sample.labels.sum()),
        "n_groups": len(np.unique(sample.groups)),
        "threshold": float(thresholds[0]) if len(thresholds) == 1 else None,
    } | _estimates(partial(weighted_figures, runs), sample.groups)


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
#: Names of the columns of :func:`weighted_figures`.
FIGURES = tuple(_UNDEFINED)
_ECE = FIGURES.index("ece")


def _estimates(statistic: Callable[[Floats], Floats], groups: NDArray[np.str_]) -> dict[str, Estimate]:
    """Each of :data:`FIGURES` with its interval; ``statistic`` maps weights [b, n] to figures [b, 10]."""
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


def weighted_figures(runs: Sequence[Sample], weights: Floats) -> Floats:
    """:data:`FIGURES`, averaged over the runs, for each row of weights [b, n] -> [b, 10]; NaN = undefined."""
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


def estimate(value: float, low: float, high: float, undefined: str) -> Estimate:
    """A figure with its interval; NaN becomes None, with the reason ``undefined`` where the value is NaN."""
    if np.isnan(value):
        return Estimate(None, None, None, undefined)
    if np.isnan(low):
        return Estimate(float(value), None, None, "too few groups for an interval")
    return Estimate(float(value), float(low), float(high))
