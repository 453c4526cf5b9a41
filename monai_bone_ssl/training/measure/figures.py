"""What model.json says of a model: cross-validated figures with 95 % intervals, groups never split."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.model.spec import Figure
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap, percentile_interval, weighted_auroc
from monai_bone_ssl.stats.calibration import MIN_CASES
from monai_bone_ssl.training.data import LabelledDataset

__all__ = ["auroc_figures", "share_figure"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float64]


def auroc_figures(dataset: LabelledDataset, logits: FloatArray) -> dict[str, Figure]:
    """AUROC averaged over the seeds: over all images, by part with cases enough, and without hardware.

    Parameters
    ----------
    dataset
        n labelled images.
    logits
        [seeds, n], out of fold.
    """
    subsets: dict[str, BoolArray] = {"auroc": np.ones(len(dataset), dtype=np.bool_)}
    for name in dataset.regions:
        here = dataset.parts == name
        if min(np.bincount(dataset.labels[here], minlength=2)) >= MIN_CASES:
            subsets[f"auroc_{name}"] = here
    hardware = np.array([bool(image.hardware) for image in dataset.images])
    if hardware.any():
        subsets["auroc_without_hardware"] = ~hardware
    return {name: _auroc(dataset, logits, subset) for name, subset in subsets.items()}


def _auroc(dataset: LabelledDataset, logits: FloatArray, subset: BoolArray) -> Figure:
    labels, chosen = dataset.labels[subset], logits[:, subset].astype(np.float64)

    def mean_auroc(weights: Weights) -> Weights:
        return np.asarray(np.mean([weighted_auroc(weights, labels, seed) for seed in chosen], axis=0))

    value = float(mean_auroc(np.ones((1, len(labels))))[0])
    low, high = percentile_interval(cluster_bootstrap(mean_auroc, dataset.groups[subset]))
    return Figure(value=value, ci_low=float(low), ci_high=float(high))


def share_figure(hits: BoolArray, groups: npt.NDArray[np.str_]) -> Figure:
    """Share of hits [n] among images of groups [n]."""

    def share(weights: Weights) -> Weights:
        return np.asarray(weights @ hits.astype(np.float64) / weights.sum(axis=1))

    low, high = percentile_interval(cluster_bootstrap(share, groups))
    return Figure(value=float(hits.mean()), ci_low=float(low), ci_high=float(high))
