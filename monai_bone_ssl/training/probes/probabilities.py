"""Logits of many images to calibrated probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from monai_bone_ssl.stats.calibration import Calibration

__all__ = ["calibrated"]


def calibrated(logits: npt.NDArray[np.float32], calibration: Calibration) -> npt.NDArray[np.float64]:
    """Probabilities [...] of logits [...]: ``Calibration.probability`` for arrays."""
    return np.asarray(expit(calibration.slope * logits.astype(np.float64) + calibration.intercept))
