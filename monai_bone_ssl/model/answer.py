"""From what the network computed for one image to an answer, in one way for every front and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import Decision, OperatingPoints, PixelBox, decide
from monai_bone_ssl.stats.calibration import Calibration

__all__ = ["Answer", "peak_box"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """Answer of the model for one image."""

    logit: float
    """Logit of the target, before calibration."""
    probability: float
    """Calibrated probability of the target, 0 to 1."""
    decision: Decision
    points: OperatingPoints
    """Operating points that decided."""
    peak_box: PixelBox
    """Patch with the largest evidence, in source pixels."""

    @classmethod
    def of(
        cls,
        logit: float,
        evidence: FloatArray,
        shape: tuple[int, ...],
        points: OperatingPoints,
        calibration: Calibration,
    ) -> Self:
        """Calibrate, decide, and find the peak.

        Parameters
        ----------
        logit
            Logit of the target, before calibration.
        evidence
            Contribution of each patch to the logit [h, w].
        shape
            Rows and columns of the source image.
        points
            Operating points of the image's body part.
        calibration
            Calibration of the model.
        """
        probability = calibration.probability(logit)
        return cls(logit, probability, decide(probability, points), points, peak_box(evidence, shape))


def peak_box(evidence: FloatArray, shape: tuple[int, ...]) -> PixelBox:
    """The patch with the largest evidence, in source pixels.

    Parameters
    ----------
    evidence
        Contribution of each patch to the logit [h, w]; the patches cover the image from edge to edge.
    shape
        Rows and columns of the source image.
    """
    row, column = np.unravel_index(int(evidence.argmax()), evidence.shape)
    tall, wide = shape[0] / evidence.shape[0], shape[1] / evidence.shape[1]
    return PixelBox(
        top=float(row * tall),
        left=float(column * wide),
        bottom=float((row + 1) * tall),
        right=float((column + 1) * wide),
    )
