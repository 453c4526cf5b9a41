"""How far an image's features lie from those of the training images: the out-of-distribution gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.training.data import TrainTest

__all__ = ["Novelty", "fit_novelty", "out_of_fold_distances"]

FloatArray = npt.NDArray[np.float32]

# More components would see smaller differences, but the smallest components hold noise.
_COMPONENTS = 256


@dataclass(frozen=True, eq=False)
class Novelty:
    """Mahalanobis distance (Lee et al. 2018, arXiv:1807.03888) in the leading principal components."""

    mean: FloatArray
    """Mean of the training images' features [D]."""
    directions: FloatArray
    """Matrix [D, K] from features to K components of unit variance; rounded to float16, as the model file
    stores it."""

    @property
    def method(self) -> str:
        """Name of the method, for model.json."""
        return f"root mean square of {self.directions.shape[1]} whitened principal components"

    def distances(self, features: FloatArray) -> FloatArray:
        """Distance [N] of features [N, D]; its root mean square over the training images is 1."""
        distances: FloatArray = np.sqrt(np.square((features - self.mean) @ self.directions).mean(axis=1))
        return distances


def fit_novelty(features: FloatArray) -> Novelty:
    """Fit on features [N, D] of training images."""
    mean = features.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(features - mean, rowvar=False))
    kept = slice(-min(_COMPONENTS, features.shape[1]), None)
    directions = axes[:, kept] / np.sqrt(np.maximum(variances[kept], variances[-1] * 1e-6))
    return Novelty(mean, directions.astype(np.float16).astype(np.float32))


def out_of_fold_distances(features: FloatArray, folds: Sequence[TrainTest]) -> FloatArray:
    """Distance [N] of each image to training images of other groups."""
    distances = np.empty(len(features), dtype=np.float32)
    for train, test in folds:
        distances[test] = fit_novelty(features[train]).distances(features[test])
    return distances
