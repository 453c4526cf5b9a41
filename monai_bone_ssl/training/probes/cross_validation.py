"""Grouped cross-validation of the probe that ships: the strength it chooses, and figures for model.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from monai_bone_ssl.model.spec import Figure
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap, percentile_interval, weighted_auroc
from monai_bone_ssl.stats.calibration import MIN_CASES_TO_FIT, Calibration, fit_calibration
from monai_bone_ssl.stats.within_cells import auroc_within_cells, weighted_auroc_within_cells
from monai_bone_ssl.training.data import PROTOCOL_SEEDS, LabelledDataset, TrainTest, range_splits, splits
from monai_bone_ssl.training.probes.logistic import out_of_fold_logits

__all__ = [
    "PRODUCT_STRENGTHS",
    "CrossValidation",
    "OutOfFold",
    "auroc_figures",
    "best_choice",
    "cross_validate",
    "fit_reference_calibration",
    "out_of_fold",
    "share_figure",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Cells = npt.NDArray[np.str_]
Weights = npt.NDArray[np.float64]

#: Inverse L2 strengths that are tried for the probe that ships, from strong to weak regularisation.
PRODUCT_STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Logits that one method gives n images, each from a fit that did not see the image's group."""

    seeds: FloatArray
    """Logits [seeds, n] from grouped folds under each of the protocol's seeds."""
    ranges: FloatArray | None
    """Logits [n] from fits that did not see the image's acquisition range; None where there are no ranges."""

    @property
    def reference(self) -> FloatArray:
        """Logits [k, n] to fix a calibration and operating points on, so that they hold on images from
        elsewhere: those with ranges left out (k = 1), or those of the seeds where there are no ranges."""
        return self.seeds if self.ranges is None else self.ranges[None]

    def plus(self, other: OutOfFold, weight: float) -> OutOfFold:
        """The sum of these logits and another method's, weighted, for the same images and folds."""
        ranges = None
        if self.ranges is not None and other.ranges is not None:
            ranges = self.ranges + np.float32(weight) * other.ranges
        return OutOfFold(self.seeds + np.float32(weight) * other.seeds, ranges)

    def take(self, index: IntArray | BoolArray) -> OutOfFold:
        """The logits of the images at ``index`` [m], indices or a mask."""
        return OutOfFold(self.seeds[:, index], None if self.ranges is None else self.ranges[index])


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The chosen strength, and logits of every image from probes that did not see its group."""

    strength: float
    """Inverse L2 strength that ranks best under the protocol's first seed."""
    logits: OutOfFold
    """Out-of-fold logits of n images."""
    calibration: Calibration
    """Platt scaling fitted on the reference logits."""

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Calibrated probabilities [k, n] of the reference logits."""
        return self.calibration.probabilities(self.logits.reference)


def cross_validate(features: FloatArray, dataset: LabelledDataset) -> CrossValidation:
    """Choose the strength on the first seed's folds, and take its out-of-fold logits.

    Parameters
    ----------
    features
        Features of the images [n, D].
    dataset
        n labelled images.
    """
    labels = dataset.labels
    first = list(splits(dataset, seed=PROTOCOL_SEEDS[0]))
    chosen = best_choice(out_of_fold_logits(features, labels, first, PRODUCT_STRENGTHS), dataset)
    strength = PRODUCT_STRENGTHS[chosen]
    logits = out_of_fold(dataset, lambda folds: out_of_fold_logits(features, labels, folds, (strength,))[0])
    return CrossValidation(strength, logits, fit_reference_calibration(logits, labels))


def out_of_fold(
    dataset: LabelledDataset, logits_of: Callable[[Sequence[TrainTest]], FloatArray]
) -> OutOfFold:
    """Logits of any method under the protocol: grouped folds under every seed, and with ranges left out.

    Parameters
    ----------
    dataset
        n labelled images.
    logits_of
        Function of folds, each the indices to learn from and those to predict, that returns the logits [n] of
        the predicted images; every image is predicted in one of the folds.
    """
    folds = [list(splits(dataset, seed=seed)) for seed in PROTOCOL_SEEDS]
    seeds = np.stack([logits_of(of_seed) for of_seed in tqdm(folds, desc="cross-validation", unit="seed")])
    return OutOfFold(seeds, None if dataset.ranges is None else logits_of(list(range_splits(dataset))))


def fit_reference_calibration(logits: OutOfFold, labels: IntArray) -> Calibration:
    """Platt scaling of a method's reference logits, for labels [n]."""
    reference = logits.reference
    return fit_calibration(reference.ravel(), np.tile(labels, len(reference)))


def best_choice(logits: FloatArray, dataset: LabelledDataset) -> int:
    """Number of the choice whose out-of-fold logits rank the images best; the first of equals.

    AUROC within cells decides, so that no choice wins by telling acquisition ranges apart. Where there are no
    ranges, or no cell has cases enough, the AUROC over all images does.

    Parameters
    ----------
    logits
        Out-of-fold logits [S, n], a row for each of S choices.
    dataset
        n labelled images.
    """
    labels, cells = dataset.labels, dataset.cells
    if cells is not None:
        within = [auroc_within_cells(row, labels, cells) for row in logits]
        if not np.isnan(within[0]):
            return int(np.argmax(within))
    return int(np.argmax([roc_auc_score(labels, row) for row in logits]))


def auroc_figures(dataset: LabelledDataset, logits: OutOfFold) -> dict[str, Figure]:
    """AUROC with its interval: ``auroc`` is averaged over the seeds' grouped folds.

    Where there are acquisition ranges, ``auroc_range_left_out`` is that of logits with the image's range left
    out, and ``auroc_within_cells`` and ``auroc_range_left_out_within_cells`` are the same two inside cells.
    Each stands for all images, and with ``_NAME`` behind for one part that has cases enough and, where some
    images show hardware, ``_without_hardware``.

    Parameters
    ----------
    dataset
        n labelled images.
    logits
        Their out-of-fold logits.
    """
    kinds: dict[str, tuple[FloatArray, Cells | None]] = {"auroc": (logits.seeds, None)}
    cells = dataset.cells
    if logits.ranges is not None:
        kinds["auroc_within_cells"] = logits.seeds, cells
        kinds["auroc_range_left_out"] = logits.ranges[None], None
        kinds["auroc_range_left_out_within_cells"] = logits.ranges[None], cells
    return {
        kind + subset: figure
        for kind, (rows, cells) in kinds.items()
        for subset, images in _subsets(dataset).items()
        if (figure := _auroc(dataset.take(images), rows[:, images], None if cells is None else cells[images]))
    }


def _subsets(dataset: LabelledDataset) -> dict[str, IntArray]:
    """Indices of the images that a figure stands for, by the end of the figure's name."""
    subsets = {"": np.arange(len(dataset))}
    for name in dataset.known_parts:
        here = dataset.parts == name
        if min(np.bincount(dataset.labels[here], minlength=2)) >= MIN_CASES_TO_FIT:
            subsets[f"_{name}"] = np.flatnonzero(here)
    hardware = np.array([bool(image.hardware) for image in dataset.images])
    if hardware.any():
        subsets["_without_hardware"] = np.flatnonzero(~hardware)
    return subsets


def _auroc(dataset: LabelledDataset, logits: FloatArray, cells: Cells | None) -> Figure | None:
    """AUROC of logits [k, n], averaged over the rows; None where no cell has cases enough."""
    labels, rows = dataset.labels, logits.astype(np.float64)

    def mean_auroc(weights: Weights) -> Weights:
        areas = [
            weighted_auroc(weights, labels, row)
            if cells is None
            else weighted_auroc_within_cells(weights, labels, row, cells)
            for row in rows
        ]
        return np.asarray(np.mean(areas, axis=0))

    value = float(mean_auroc(np.ones((1, len(labels))))[0])
    if np.isnan(value):
        return None
    low, high = percentile_interval(cluster_bootstrap(mean_auroc, dataset.groups))
    return Figure(value=value, ci_low=float(low), ci_high=float(high))


def share_figure(hits: BoolArray, groups: npt.NDArray[np.str_]) -> Figure:
    """Share of hits [n] among images of groups [n]."""

    def share(weights: Weights) -> Weights:
        return np.asarray(weights @ hits.astype(np.float64) / weights.sum(axis=1))

    low, high = percentile_interval(cluster_bootstrap(share, groups))
    return Figure(value=float(hits.mean()), ci_low=float(low), ci_high=float(high))
