"""Grouped cross-validation of the probe that ships: the strength it chooses, and figures for model.json."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from monai_bone_ssl.model.spec import Figure
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap, percentile_interval, weighted_auroc
from monai_bone_ssl.stats.calibration import MIN_CASES_TO_FIT, Calibration, fit_calibration
from monai_bone_ssl.training.data import PROTOCOL_SEEDS, LabelledDataset, splits
from monai_bone_ssl.training.probes.logistic import out_of_fold_logits

__all__ = [
    "PRODUCT_STRENGTHS",
    "CrossValidation",
    "auroc_figures",
    "best_by_auroc",
    "cross_validate",
    "share_figure",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float64]

#: Inverse L2 strengths that are tried for the probe that ships, from strong to weak regularisation.
PRODUCT_STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2)


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The chosen strength, and logits of every image from probes that did not see its group."""

    strength: float
    """Inverse L2 strength with the best AUROC under the protocol's first seed."""
    logits: FloatArray
    """Out-of-fold logits [seeds, n]."""
    calibration: Calibration
    """Platt scaling fitted on the logits under all seeds."""

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Calibrated probabilities [seeds, n]."""
        return self.calibration.probabilities(self.logits)


def cross_validate(features: FloatArray, dataset: LabelledDataset) -> CrossValidation:
    """Choose the strength on the first seed's folds, and take its out-of-fold logits under every seed.

    Parameters
    ----------
    features
        Features of the images [n, D].
    dataset
        n labelled images.
    """
    labels = dataset.labels
    progress = tqdm(PROTOCOL_SEEDS, desc="cross-validation", unit="seed")
    every_strength = [
        out_of_fold_logits(features, labels, list(splits(dataset, seed=seed)), PRODUCT_STRENGTHS)
        for seed in progress
    ]
    chosen = best_by_auroc(every_strength[0], labels)
    logits = np.stack([of_seed[chosen] for of_seed in every_strength])
    calibration = fit_calibration(logits.ravel(), np.tile(labels, len(PROTOCOL_SEEDS)))
    return CrossValidation(PRODUCT_STRENGTHS[chosen], logits, calibration)


def best_by_auroc(logits: FloatArray, labels: IntArray) -> int:
    """Row of out-of-fold logits [S, n] with the best AUROC for labels [n]; the first of equals."""
    return int(np.argmax([roc_auc_score(labels, row) for row in logits]))


def auroc_figures(dataset: LabelledDataset, logits: FloatArray) -> dict[str, Figure]:
    """AUROC averaged over the seeds: over all images, by part with cases enough, and without hardware.

    Parameters
    ----------
    dataset
        n labelled images.
    logits
        Out-of-fold logits [seeds, n].
    """
    subsets: dict[str, BoolArray] = {"auroc": np.ones(len(dataset), dtype=np.bool_)}
    for name in dataset.known_parts:
        here = dataset.parts == name
        if min(np.bincount(dataset.labels[here], minlength=2)) >= MIN_CASES_TO_FIT:
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
