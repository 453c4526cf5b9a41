"""Content of metrics.json (contract C4): figures over all images, by part, without hardware and by study."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.training.measure.estimates import (
    Estimate,
    estimate_figures,
    parts_with_cases,
    weighted_figures,
    weighted_part_means,
)
from monai_bone_ssl.training.measure.localisation import Localisation
from monai_bone_ssl.training.measure.sample import Sample, merge_studies

__all__ = [
    "BinaryMetrics",
    "MeanOverParts",
    "Metrics",
    "MetricsByPart",
    "compute_metrics",
    "mean_over_parts",
]


class BinaryMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over one set of images (or studies)."""

    n: int
    """Number of images (or studies)."""
    n_positive: int
    """Number of images with label 1."""
    n_groups: int
    """Number of groups (patients), which the intervals' resamples draw as wholes."""
    threshold: float | None
    """Probability from which accuracy, balanced accuracy, kappa, sensitivity and specificity count an
    image as positive; None where it differs between the parts."""
    auroc: Estimate
    """Area under the ROC curve; ties count half."""
    auroc_within_cells: Estimate
    """Mean AUROC inside cells, weighted by the size of the smaller class; a cell is the images of one
    acquisition range and body part, and counts with 5 positive and 5 negative images. A model earns nothing
    here by telling sites or devices apart."""
    accuracy: Estimate
    """Share of the images whose thresholded probability is the label."""
    balanced_accuracy: Estimate
    """Mean of sensitivity and specificity."""
    kappa: Estimate
    """Cohen's kappa between label and thresholded probability."""
    sensitivity: Estimate
    """Share of the positive images whose probability reaches the threshold."""
    specificity: Estimate
    """Share of the negative images whose probability does not reach the threshold."""
    sensitivity_at_specificity_85: Estimate
    """Sensitivity at the lowest threshold with a specificity of 85 % or more on these images."""
    sensitivity_at_specificity_90: Estimate
    """Sensitivity at the lowest threshold with a specificity of 90 % or more on these images."""
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
    """Figures over the images of each body part."""


class MeanOverParts(msgspec.Struct, frozen=True, kw_only=True):
    """Mean of the parts' figures, each part counting alike, however many images it has."""

    parts: tuple[str, ...]
    """Parts with 20 positive and 20 negative images, over which the means are taken."""
    auroc: Estimate
    """Mean area under the ROC curve."""
    auroc_within_cells: Estimate
    """Mean AUROC within cells; undefined where a part has no cell with cases enough."""
    accuracy: Estimate
    """Mean accuracy."""
    balanced_accuracy: Estimate
    """Mean balanced accuracy."""
    kappa: Estimate
    """Mean of Cohen's kappa."""
    sensitivity: Estimate
    """Mean sensitivity."""
    specificity: Estimate
    """Mean specificity."""
    sensitivity_at_specificity_85: Estimate
    """Mean sensitivity at a specificity of 85 % in each part."""
    sensitivity_at_specificity_90: Estimate
    """Mean sensitivity at a specificity of 90 % in each part."""
    ece: Estimate
    """Mean expected calibration error."""


class Metrics(MetricsByPart, frozen=True, kw_only=True):
    """Everything that an evaluation measures; metrics.json has these keys."""

    without_hardware: BinaryMetrics | None
    """Figures over images without implants or fixation; None where nobody noted hardware."""
    study_level: MetricsByPart | None
    """Figures over studies; None where studies are unknown. The probability of a study is the mean of its
    images' (Rajpurkar et al. 2018, arXiv:1712.06957); the decision is the most severe image's, as in a
    report."""
    localisation: Localisation | None
    """Outcome of the pointing game, and of regions against outlines; None where no image has boxes."""


def compute_metrics(
    runs: Sequence[Sample],
    *,
    hardware: NDArray[np.bool_] | None = None,
    studies: NDArray[np.str_] | None = None,
    localisation: Localisation | None = None,
) -> Metrics:
    """All figures of contract C4, each the mean over runs on the same images.

    Parameters
    ----------
    runs
        Labels and predictions of the same n images: one run, or for instance one under each of several seeds.
        A resample draws the groups once for all runs, because seeds are no further patients.
    hardware
        Whether implants or fixation are visible [n]; None where nobody noted it.
    studies
        Study of each image [n]; None where studies are unknown.
    localisation
        Outcome of the pointing game and of the regions, copied into the result.
    """
    without_hardware = None
    if hardware is not None and not hardware.all():
        without_hardware = _metrics(_take(runs, ~hardware))
    return Metrics(
        **_fields(runs),
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
        Predictions of the same images, see :func:`compute_metrics`.
    """
    parts = parts_with_cases(runs[0])
    if not parts:
        return None
    estimates = estimate_figures(partial(weighted_part_means, runs, parts), runs[0].groups)
    names = MeanOverParts.__struct_fields__
    return MeanOverParts(parts=parts, **{name: estimates[name] for name in names if name != "parts"})


def _take(runs: Sequence[Sample], index: NDArray[np.bool_]) -> list[Sample]:
    return [sample.take(index) for sample in runs]


def _per_part(runs: Sequence[Sample]) -> dict[str, BinaryMetrics]:
    parts = runs[0].parts
    return {str(part): _metrics(_take(runs, parts == part)) for part in np.unique(parts)}


def _study_level(runs: Sequence[Sample], studies: NDArray[np.str_]) -> MetricsByPart:
    merged = [merge_studies(sample, studies) for sample in runs]
    return MetricsByPart(**_fields(merged), per_part=_per_part(merged))


def _metrics(runs: Sequence[Sample]) -> BinaryMetrics:
    return BinaryMetrics(**_fields(runs))


def _fields(runs: Sequence[Sample]) -> dict[str, Any]:
    """Fields of :class:`BinaryMetrics`."""
    sample = runs[0]  # the runs differ in their predictions only
    thresholds = np.unique(sample.thresholds)
    return {
        "n": len(sample),
        "n_positive": int(sample.labels.sum()),
        "n_groups": len(np.unique(sample.groups)),
        "threshold": float(thresholds[0]) if len(thresholds) == 1 else None,
    } | estimate_figures(partial(weighted_figures, runs), sample.groups)
