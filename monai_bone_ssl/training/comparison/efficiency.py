"""How few labels are enough for a row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.bootstrap import weighted_auroc
from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.outcome import EfficiencyPoint
from monai_bone_ssl.training.comparison.predictions import PredictionStore
from monai_bone_ssl.training.comparison.protocol import THRESHOLD, Fold, Protocol
from monai_bone_ssl.training.label_efficiency import LabelShare, label_efficiency

__all__ = ["efficiency_points"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def efficiency_points(method: Method, store: PredictionStore, protocol: Protocol) -> list[EfficiencyPoint]:
    """Figures after learning from 1, 10, 25 and 100 % of the training studies, each drawn under three seeds.

    Parameters
    ----------
    method
        The row.
    store
        Keeps the predictions, so that a stopped run resumes; the full share is what the table is made of.
    protocol
        Whose first seed's folds are used.
    """
    folds = protocol.folds_of(protocol.seeds[0])
    return [point for fold in folds for point in _points_of_fold(method, store, fold)]


def _points_of_fold(method: Method, store: PredictionStore, fold: Fold) -> Iterator[EfficiencyPoint]:
    def predict(train: Ints, test: Ints) -> Floats:
        return store.predict(method, Fold(fold.seed, fold.number, train, test))

    # The predictions are kept: the second pass reads what the first one wrote.
    accuracies = label_efficiency(store.dataset, fold.train, fold.test, predict, _accuracy)
    aurocs = label_efficiency(store.dataset, fold.train, fold.test, predict, _auroc)
    for one, other in zip(accuracies, aurocs, strict=True):
        yield _point(method.name, fold.number, one, other)


def _point(row: str, fold: int, accuracy: LabelShare, auroc: LabelShare) -> EfficiencyPoint:
    return EfficiencyPoint(
        row=row,
        share=accuracy.share,
        seed=accuracy.seed,
        fold=fold,
        n_studies=accuracy.n_studies,
        n_images=accuracy.n_images,
        accuracy=accuracy.value,
        auroc=None if np.isnan(auroc.value) else auroc.value,
    )


def _accuracy(labels: Ints, probabilities: Floats) -> float:
    return float(np.mean((probabilities >= THRESHOLD) == (labels == 1)))


def _auroc(labels: Ints, probabilities: Floats) -> float:
    return float(weighted_auroc(np.ones((1, len(labels))), labels, probabilities)[0])
