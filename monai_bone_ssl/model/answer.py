"""From what the network computed for one image to an answer, in one way for every front and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import Decision, OperatingPoints, PixelBox, Region, decide
from monai_bone_ssl.model.regions import find_regions
from monai_bone_ssl.model.spec import ModelSpec

__all__ = ["Answer", "peak_box"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Answer:
    """Answer of the model for one image."""

    logit: float
    """Logit of the target, before calibration."""
    probability: float
    """Calibrated probability of the target, 0 to 1."""
    decision: Decision
    points: OperatingPoints
    """Operating points that decided."""
    evidence: FloatArray
    """Probability of each patch that it shows the target [h, w], 0 to 1."""
    peak_box: PixelBox
    """Patch with the largest evidence, in source pixels."""
    regions: tuple[Region, ...]
    """Regions that show signs of the target, the highest probability first; none in a negative image."""

    @classmethod
    def of(
        cls,
        logit: float,
        patch_scores: FloatArray,
        shape: tuple[int, ...],
        points: OperatingPoints,
        spec: ModelSpec,
    ) -> Self:
        """Calibrate, decide, and find the regions.

        Parameters
        ----------
        logit
            Logit of the target, before calibration.
        patch_scores
            Score of each patch [h, w], in logit before calibration.
        shape
            Rows and columns of the source image.
        points
            Operating points of the image's body part.
        spec
            Specification of the model.
        """
        probability = spec.calibration.probability(logit)
        decision = decide(probability, points)
        patches = spec.patch_probe
        evidence = patches.calibration.probabilities(patch_scores).astype(np.float32)
        regions: tuple[Region, ...] = ()
        if decision is not Decision.NEGATIVE:
            regions = find_regions(evidence, shape, patches.possible, patches.certain)
        return cls(logit, probability, decision, points, evidence, peak_box(patch_scores, shape), regions)


def peak_box(scores: FloatArray, shape: tuple[int, ...]) -> PixelBox:
    """The patch with the highest score, in source pixels.

    Parameters
    ----------
    scores
        Score of each patch [h, w]; the patches cover the image from edge to edge.
    shape
        Rows and columns of the source image.
    """
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    tall, wide = shape[0] / scores.shape[0], shape[1] / scores.shape[1]
    return PixelBox(
        top=float(row * tall),
        left=float(column * wide),
        bottom=float((row + 1) * tall),
        right=float((column + 1) * wide),
    )
