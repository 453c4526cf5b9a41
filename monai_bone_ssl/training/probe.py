"""Linear probes on frozen features, chosen and judged by grouped cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

__all__ = [
    "STRENGTHS",
    "Fold",
    "LinearProbe",
    "choose_strength",
    "fit_class_probe",
    "fit_probe",
    "out_of_fold",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Fold = tuple[IntArray, IntArray]

#: Inverse L2 strengths that are tried, from strong to weak regularisation.
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2)

# Logit of a class that no training image has: its probability is 0, and everything stays finite.
_NEVER = -1e4


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


def fit_class_probe(features: FloatArray, labels: IntArray, classes: int, strength: float) -> LinearProbe:
    """The same for any number of classes: softmax over its logits [N, classes] gives probabilities.

    A class without an image in ``labels`` gets probability 0.
    """
    present = np.unique(labels)
    weight = np.zeros((classes, features.shape[1]), dtype=np.float32)
    bias = np.full(classes, _NEVER, dtype=np.float32)
    bias[present] = 0
    if len(present) == 2:
        binary = fit_probe(features, (labels == present[1]).astype(np.int64), strength)
        weight[present[1]], bias[present[1]] = binary.weight[0], binary.bias[0]
    elif len(present) > 2:
        fitted = fit_probe(features, labels, strength)
        weight[present], bias[present] = fitted.weight, fitted.bias
    return LinearProbe(weight, bias)


def out_of_fold(
    features: FloatArray,
    labels: IntArray,
    folds: Sequence[Fold],
    fit: Callable[[FloatArray, IntArray], LinearProbe],
) -> FloatArray:
    """Logits [N, K] of each image, from the probe that did not see its group."""
    parts = [(test, fit(features[train], labels[train]).logits(features[test])) for train, test in folds]
    logits = np.empty((len(labels), parts[0][1].shape[1]), dtype=np.float32)
    for test, values in parts:
        logits[test] = values
    return logits


def choose_strength(
    features: FloatArray, labels: IntArray, folds: Sequence[Fold]
) -> tuple[float, dict[float, float]]:
    """Strength with the best out-of-fold AUROC, and the AUROC of each one tried."""
    scores = {}
    for strength in STRENGTHS:
        logits = out_of_fold(features, labels, folds, partial(fit_probe, strength=strength))
        scores[strength] = float(roc_auc_score(labels, logits[:, 0]))
    return max(scores, key=scores.__getitem__), scores
