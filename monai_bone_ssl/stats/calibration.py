"""Logits to calibrated probabilities, and probabilities to operating points."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.stats.logistic_regression import fit_logistic_regression

__all__ = [
    "MIN_CASES",
    "SENSITIVITY",
    "SPECIFICITY",
    "Calibration",
    "fit_calibration",
    "fix_operating_points",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

#: What the two operating points are fixed at.
SENSITIVITY = 0.95
SPECIFICITY = 0.95

#: Fewer positive or negative images than this cannot fix an operating point: its interval would be too wide.
MIN_CASES = 50

# A penalty that changes nothing, but keeps the slope finite where the logits separate the labels.
_FREE = 1e-6


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Platt scaling: probability = sigmoid(slope * logit + intercept), fitted on out-of-fold logits."""

    slope: float
    intercept: float

    def probability(self, logit: float) -> float:
        """Calibrated probability of one logit."""
        z = self.slope * logit + self.intercept
        return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))

    def probabilities(self, logits: FloatArray) -> npt.NDArray[np.float64]:
        """Calibrated probabilities [...] of logits [...]."""
        z = self.slope * logits.astype(np.float64) + self.intercept
        return np.asarray(np.exp(-np.logaddexp(0, -z)))


def fit_calibration(logits: FloatArray, labels: IntArray) -> Calibration:
    """Platt scaling (Platt 1999) of out-of-fold logits [n] to labels [n]."""
    design = np.stack([logits, np.ones_like(logits)], axis=1).astype(np.float64)
    slope, intercept = fit_logistic_regression(design, labels, np.full(2, _FREE))
    return Calibration(slope=float(slope), intercept=float(intercept))


def fix_operating_points(probabilities: npt.NDArray[np.float64], labels: IntArray) -> OperatingPoints:
    """Thresholds with :data:`SENSITIVITY` and :data:`SPECIFICITY` on out-of-fold probabilities.

    Parameters
    ----------
    probabilities, labels
        [n]; both classes present.

    Returns
    -------
    The highest threshold that keeps the sensitivity, and the lowest that keeps the specificity. Where one
    threshold would do both, it is used for both and nothing is indeterminate.
    """
    positives = np.sort(probabilities[labels == 1])
    negatives = np.sort(probabilities[labels == 0])
    high_sensitivity = positives[int(np.floor((1 - SENSITIVITY) * len(positives)))]
    high_specificity = np.nextafter(negatives[int(np.ceil(SPECIFICITY * len(negatives))) - 1], 1.0)
    return OperatingPoints(
        float(min(high_sensitivity, high_specificity)), float(max(high_sensitivity, high_specificity))
    )
