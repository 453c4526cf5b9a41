"""How few labels are enough for a row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.stats.bootstrap import weighted_auroc
from monai_bone_ssl.training.comparison.label_efficiency import label_efficiency
from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.outcome import EfficiencyPoint
from monai_bone_ssl.training.comparison.predictions import PredictionStore
from monai_bone_ssl.training.comparison.protocol import THRESHOLD, Fold, Protocol

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

    labels = store.dataset.labels[fold.test]
    for learnt in label_efficiency(store.dataset, fold.train, fold.test, predict):
        auroc = float(weighted_auroc(np.ones((1, len(labels))), labels, learnt.probabilities)[0])
        yield EfficiencyPoint(
            row=method.name,
            share=learnt.share,
            seed=learnt.seed,
            fold=fold.number,
            n_studies=learnt.n_studies,
            n_images=learnt.n_images,
            accuracy=float(np.mean((learnt.probabilities >= THRESHOLD) == (labels == 1))),
            auroc=None if np.isnan(auroc) else auroc,
        )
