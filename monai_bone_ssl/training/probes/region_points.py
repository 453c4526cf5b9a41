"""Patch operating points: from which probability on a region is drawn, and from which it is certain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import Region
from monai_bone_ssl.model.regions import find_regions
from monai_bone_ssl.model.spec import PatchProbeSpec
from monai_bone_ssl.stats.calibration import Calibration, fit_calibration
from monai_bone_ssl.training.data import LabelledDataset, read_grey

__all__ = ["CERTAIN_FALSE_REGIONS", "POSSIBLE_FALSE_REGIONS", "fix_patch_points"]

FloatArray = npt.NDArray[np.float32]

#: False regions an image that the two points allow, on images that the probe did not learn from.
POSSIBLE_FALSE_REGIONS, CERTAIN_FALSE_REGIONS = 0.5, 0.1

# Regions depend on the calibration, and the calibration on regions: both have settled after so many turns.
_TURNS = 3
_START = Calibration(slope=1.0, intercept=0.0)
_LEAST = 1e-4  # probability from which on a patch makes a region while the points are looked for


def fix_patch_points(dataset: LabelledDataset, scores: Sequence[FloatArray]) -> PatchProbeSpec:
    """Calibrate regions and fix their operating points on out-of-fold patch scores.

    A region is true where its centre lies in an outlined finding; in a positive image without outlines the
    highest region is taken for true and the others are not counted; in a negative image every one is false.

    Parameters
    ----------
    dataset
        n labelled images.
    scores
        Out-of-fold scores [h, w] of each image [n], in logit.
    """
    shapes = [read_grey(image.path).shape for image in dataset.images]
    calibration = _START
    for _ in range(_TURNS):
        regions = _judged_regions(dataset, scores, shapes, calibration)
        highest, true = _highest_scores(regions, calibration)
        if 0 < true.sum() < len(true):  # else there is nothing to learn from
            calibration = fit_calibration(highest, true)
    regions = _judged_regions(dataset, scores, shapes, calibration)
    false = np.sort([region.probability for region, true in regions if not true])[::-1]
    possible, certain = (
        _point(false, round(rate * len(dataset))) for rate in (POSSIBLE_FALSE_REGIONS, CERTAIN_FALSE_REGIONS)
    )
    outlined = any(image.boxes for image in dataset.images)
    return PatchProbeSpec(
        fitted_to="outlines" if outlined else "image labels",
        calibration=calibration,
        possible=possible,
        certain=certain,
    )


def _judged_regions(
    dataset: LabelledDataset,
    scores: Sequence[FloatArray],
    shapes: Sequence[tuple[int, ...]],
    calibration: Calibration,
) -> list[tuple[Region, bool]]:
    """Regions of all images, and whether each is true."""
    judged: list[tuple[Region, bool]] = []
    for image, of_image, shape in zip(dataset.images, scores, shapes, strict=True):
        evidence = calibration.probabilities(of_image).astype(np.float32)
        regions = find_regions(evidence, shape, possible=_LEAST, certain=1.0)
        if image.label and not image.boxes:
            judged += [(region, True) for region in regions[:1]]
        else:
            judged += [(region, any(box.is_hit_by(region) for box in image.boxes)) for region in regions]
    return judged


def _highest_scores(
    regions: Sequence[tuple[Region, bool]], calibration: Calibration
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Score of the highest patch of each region, which its probability comes from, and whether it is true."""
    probabilities = np.array([region.probability for region, _ in regions]).clip(1e-7, 1 - 1e-7)
    logits = np.log(probabilities / (1 - probabilities))
    scores = (logits - calibration.intercept) / calibration.slope
    return scores.astype(np.float32), np.array([true for _, true in regions], dtype=np.int64)


def _point(falsely: npt.NDArray[np.float64], allowed: int) -> float:
    """Smallest probability that so many false regions, sorted downwards, reach; 0 where there are fewer."""
    return float(np.nextafter(falsely[allowed], 1.0)) if allowed < len(falsely) else 0.0
