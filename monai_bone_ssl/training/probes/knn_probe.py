"""Nearest neighbours in place of a probe, the number of neighbours chosen inside the training images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import logit

from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.probes.knn import NEIGHBOURS, TEMPERATURE, knn_probabilities
from monai_bone_ssl.training.probes.nested import predict_with_choice

__all__ = ["predict_held_out_knn"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

# Shares of the votes nearer to 0 or 1 say only that there were few neighbours.
_LEAST_SHARE = 1e-3


def predict_held_out_knn(
    features: FloatArray, dataset: LabelledDataset, train: IntArray, test: IntArray
) -> npt.NDArray[np.float64]:
    """As :func:`~monai_bone_ssl.training.probes.nested.predict_held_out`; the choice is that of k."""
    rows, labels = torch.from_numpy(features), torch.from_numpy(dataset.labels)

    def candidates(known: IntArray, unseen: IntArray) -> FloatArray:
        train_rows, train_labels, test_rows = rows[known], labels[known], rows[unseen]
        shares = [
            knn_probabilities(train_rows, train_labels, test_rows, k, TEMPERATURE, classes=2)[:, 1].numpy()
            for k in NEIGHBOURS
        ]
        return np.asarray(logit(np.clip(shares, _LEAST_SHARE, 1 - _LEAST_SHARE)), dtype=np.float32)

    return predict_with_choice(dataset, train, test, candidates)
