"""Weighted nearest neighbours on frozen features, as DINO evaluates them (arXiv:2104.14294, section 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

__all__ = ["NEIGHBOURS", "TEMPERATURE", "knn_probabilities"]

#: Numbers of neighbours that DINO tries, and its temperature.
NEIGHBOURS = (10, 20, 100, 200)
TEMPERATURE = 0.07

# Test rows whose similarities to all training rows are held at once.
_CHUNK = 1024


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
    train_features, train_labels
        [N, D], and classes [N] from 0 as int64, on one device.
    test_features
        [M, D].
    k
        Neighbours; all N of them where there are fewer.
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
