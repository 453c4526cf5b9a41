"""Linear probes on frozen features, chosen and judged by grouped cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

__all__ = ["STRENGTHS", "Fold", "LinearProbe", "choose_strength", "fit_probe", "out_of_fold"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Fold = tuple[IntArray, IntArray]

#: Inverse L2 strengths that are tried, from strong to weak regularisation.
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2)


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Logits are ``features @ weight.T + bias``; the standardisation is folded in."""

    weight: FloatArray
    """[K, D]; K = 1 for two classes."""
    bias: FloatArray
    """[K]."""

    def logits(self, features: FloatArray) -> FloatArray:
        """Logits [N, K] of features [N, D]."""
        return features @ self.weight.T + self.bias


def fit_probe(features: FloatArray, labels: IntArray, strength: float) -> LinearProbe:
    """L2-regularised logistic regression by L-BFGS on standardised features.

    Parameters
    ----------
    features, labels
        [N, D], and classes [N] from 0.
    strength
        Inverse L2 strength (scikit-learn's C).
    """
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
    model.fit(scaler.transform(features), labels)
    weight = model.coef_ / scaler.scale_
    bias = model.intercept_ - weight @ scaler.mean_
    return LinearProbe(weight.astype(np.float32), bias.astype(np.float32))


def out_of_fold(features: FloatArray, labels: IntArray, folds: Sequence[Fold], strength: float) -> FloatArray:
    """Logits [N, K] of each image, from the probe that did not see its group."""
    parts = []
    for train, test in folds:
        probe = fit_probe(features[train], labels[train], strength)
        parts.append((test, probe.logits(features[test])))
    logits = np.empty((len(labels), parts[0][1].shape[1]), dtype=np.float32)
    for test, values in parts:
        logits[test] = values
    return logits


def choose_strength(
    features: FloatArray, labels: IntArray, folds: Sequence[Fold]
) -> tuple[float, dict[float, float]]:
    """Strength with the best out-of-fold AUROC, and the AUROC of each one tried."""
    scores = {
        strength: float(roc_auc_score(labels, out_of_fold(features, labels, folds, strength)[:, 0]))
        for strength in STRENGTHS
    }
    return max(scores, key=scores.__getitem__), scores
