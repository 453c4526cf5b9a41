"""Weighted nearest neighbours on frozen features, as DINO evaluates them (arXiv:2104.14294, section 4.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import logit
from torch import Tensor
from torch.nn.functional import normalize

from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.probes.nested import predict_with_choice

__all__ = ["NEIGHBOURS", "TEMPERATURE", "knn_probabilities", "predict_held_out_knn"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

#: Numbers of neighbours that DINO tries, and its temperature.
NEIGHBOURS = (10, 20, 100, 200)
TEMPERATURE = 0.07

# Test rows whose similarities to all training rows are in memory at the same time.
_CHUNK = 1024

# A share of the votes nearer to 0 or 1 than this says only that there were few neighbours.
_LEAST_SHARE = 1e-3


@torch.no_grad()
def knn_probabilities(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    k: int,
    temperature: float,
    classes: int,
) -> Tensor:
    """Share of each class among the k nearest training rows, a neighbour's vote weighing exp(cosine / T).

    Parameters
    ----------
    train_features
        Training rows [N, D].
    train_labels
        Classes of the training rows [N], from 0, as int64, on the device of the features.
    test_features
        Rows to classify [M, D].
    k
        Number of neighbours; all N training rows where there are fewer.
    temperature
        T; the smaller, the more the nearest neighbours count.
    classes
        Number of classes.

    Returns
    -------
    Float32 [M, classes] on the same device; rows sum to 1.
    """
    known = normalize(train_features.float(), dim=1).T  # [D, N]
    probabilities = known.new_zeros(len(test_features), classes)
    for start in range(0, len(test_features), _CHUNK):
        cosine = normalize(test_features[start : start + _CHUNK].float(), dim=1) @ known  # [m, N]
        nearest, index = cosine.topk(min(k, cosine.shape[1]), dim=1)  # [m, k]
        votes = (nearest / temperature).softmax(dim=1)  # exp(cosine / T), scaled to sum to 1
        probabilities[start : start + _CHUNK].scatter_add_(1, train_labels[index], votes)
    return probabilities


def predict_held_out_knn(
    features: FloatArray, dataset: LabelledDataset, train: IntArray, test: IntArray
) -> npt.NDArray[np.float64]:
    """Like :func:`~monai_bone_ssl.training.probes.nested.predict_held_out`; what is chosen is k."""
    rows, labels = torch.from_numpy(features), torch.from_numpy(dataset.labels)

    def candidates(known: IntArray, unseen: IntArray) -> FloatArray:
        train_rows, train_labels, test_rows = rows[known], labels[known], rows[unseen]
        shares = [
            knn_probabilities(train_rows, train_labels, test_rows, k, TEMPERATURE, classes=2)[:, 1].numpy()
            for k in NEIGHBOURS
        ]
        return np.asarray(logit(np.clip(shares, _LEAST_SHARE, 1 - _LEAST_SHARE)), dtype=np.float32)

    return predict_with_choice(dataset, train, test, candidates)
