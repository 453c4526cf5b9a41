"""Linear probes on frozen features, chosen and judged by grouped cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from monai_bone_ssl.training.probes.logistic import Fold, LinearProbe, fit_logistic, out_of_fold_logits

__all__ = [
    "STRENGTHS",
    "Fold",
    "LinearProbe",
    "best_strength",
    "choose_strength",
    "fit_class_probe",
    "fit_probe",
    "out_of_fold",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

#: Inverse L2 strengths that are tried, from strong to weak regularisation.
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2)

# Logit of a class that no training image has: its probability is 0, and everything stays finite.
_NEVER = -1e4


def fit_probe(features: FloatArray, labels: IntArray, strength: float) -> LinearProbe:
    """L2-regularised logistic regression on standardised features.

    Parameters
    ----------
    features, labels
        [N, D], and 0 or 1 [N].
    strength
        Inverse L2 strength (scikit-learn's C).

    Raises
    ------
    ConfigError
        See :func:`~monai_bone_ssl.training.probes.logistic.fit_logistic`.
    """
    return fit_logistic(features, labels, (strength,))[0]


def fit_class_probe(features: FloatArray, labels: IntArray, classes: int, strength: float) -> LinearProbe:
    """The same for classes [N] from 0: softmax over its logits [N, classes] gives probabilities.

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
        fitted = _fit_softmax(features, labels, strength)
        weight[present], bias[present] = fitted.weight, fitted.bias
    return LinearProbe(weight, bias)


def _fit_softmax(features: FloatArray, labels: IntArray, strength: float) -> LinearProbe:
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
    model.fit(scaler.transform(features), labels)
    weight = model.coef_ / scaler.scale_
    bias = model.intercept_ - weight @ scaler.mean_
    return LinearProbe(weight.astype(np.float32), bias.astype(np.float32))


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


def best_strength(logits: FloatArray, labels: IntArray) -> tuple[float, dict[float, float]]:
    """Strength with the best AUROC, the strongest of equals, and the AUROC of each.

    ``logits`` are out of fold, [len(STRENGTHS), N].
    """
    aurocs = (float(roc_auc_score(labels, row)) for row in logits)
    scores = dict(zip(STRENGTHS, aurocs, strict=True))
    return max(scores, key=scores.__getitem__), scores


def choose_strength(
    features: FloatArray, labels: IntArray, folds: Sequence[Fold]
) -> tuple[float, dict[float, float]]:
    """Strength with the best out-of-fold AUROC, and the AUROC of each one tried."""
    return best_strength(out_of_fold_logits(features, labels, folds, STRENGTHS), labels)
