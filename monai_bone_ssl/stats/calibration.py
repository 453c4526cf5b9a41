"""Logits to calibrated probabilities, and probabilities to operating points."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.stats.logistic_regression import fit_logistic_regression, sigmoid

__all__ = [
    "MIN_CASES_TO_FIT",
    "SENSITIVITY",
    "SPECIFICITY",
    "Calibration",
    "fit_calibration",
    "fix_operating_points",
]

FloatArray = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Sensitivity and specificity that the two operating points are fixed at.
SENSITIVITY, SPECIFICITY = 0.95, 0.95

#: Least number of positive, and of negative, images that may fix operating points or fit a body part's own
#: probe: fewer leave too wide an interval.
MIN_CASES_TO_FIT = 50

# Penalty that changes nothing but keeps the slope finite where the logits separate the labels.
_FREE = 1e-6


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Platt scaling: probability = sigmoid(slope * logit + intercept), fitted on out-of-fold logits."""

    slope: float
    """Slope of the line."""
    intercept: float
    """Value of the line at a logit of 0."""

    def scaled(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Calibrated logits [...] of logits [...]."""
        return np.asarray(self.slope * logits.astype(np.float64) + self.intercept)

    def probabilities(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Calibrated probabilities [...] of logits [...], 0 to 1."""
        return sigmoid(self.scaled(logits))

    def probability(self, logit: float) -> float:
        """Calibrated probability of one logit, 0 to 1."""
        z = self.slope * logit + self.intercept  # math.exp: the last bit of numpy's varies with the processor
        return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def fit_calibration(logits: FloatArray, labels: IntArray) -> Calibration:
    """Fit Platt scaling (Platt 1999) of out-of-fold logits [n] to labels [n], 0 or 1."""
    design = np.stack([logits, np.ones_like(logits)], axis=1).astype(np.float64)
    slope, intercept = fit_logistic_regression(design, labels, np.full(2, _FREE))
    return Calibration(slope=float(slope), intercept=float(intercept))


def fix_operating_points(probabilities: npt.NDArray[np.float64], labels: IntArray) -> OperatingPoints:
    """Fix the thresholds with :data:`SENSITIVITY` and :data:`SPECIFICITY` on out-of-fold probabilities.

    Parameters
    ----------
    probabilities
        Out-of-fold probability of each image [n].
    labels
        Label of each image, 0 or 1 [n]; both occur.

    Returns
    -------
    The highest threshold that keeps the sensitivity, and the lowest that keeps the specificity. Where one
    threshold would do both, the two are one and nothing is indeterminate.
    """
    positives = np.sort(probabilities[labels == 1])
    negatives = np.sort(probabilities[labels == 0])
    high_sensitivity = positives[int(np.floor((1 - SENSITIVITY) * len(positives)))]
    high_specificity = np.nextafter(negatives[int(np.ceil(SPECIFICITY * len(negatives))) - 1], 1.0)
    return OperatingPoints(
        float(min(high_sensitivity, high_specificity)), float(max(high_sensitivity, high_specificity))
    )
