"""What the network computed, turned into an answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_bone_ssl.findings import Decision, OperatingPoints, PixelBox
from monai_bone_ssl.model.answer import Answer, peak_box
from monai_bone_ssl.stats.calibration import Calibration

POINTS = OperatingPoints(high_sensitivity=0.2, high_specificity=0.7)
EVIDENCE = np.array([[0.1, 0.2, 0.3], [0.0, 0.9, -2.0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("probability", "decision"),
    [(0.1, Decision.NEGATIVE), (0.4, Decision.INDETERMINATE), (0.9, Decision.POSITIVE)],
)
def test_an_answer_is_the_calibrated_logit_at_the_points(probability: float, decision: Decision) -> None:
    logit = (math.log(probability / (1 - probability)) + 1) / 2
    answer = Answer.of(logit, EVIDENCE, (20, 60), POINTS, Calibration(slope=2.0, intercept=-1.0))
    assert answer.probability == pytest.approx(probability)
    assert (answer.logit, answer.decision, answer.points) == (logit, decision, POINTS)


@pytest.mark.parametrize(
    ("shape", "box"), [((20, 60), PixelBox(10, 20, 20, 40)), ((3, 4), PixelBox(1.5, 4 / 3, 3, 8 / 3))]
)
def test_the_peak_is_the_patch_with_the_largest_evidence(shape: tuple[int, int], box: PixelBox) -> None:
    found = peak_box(EVIDENCE, shape)
    for side in ("top", "left", "bottom", "right"):
        assert getattr(found, side) == pytest.approx(getattr(box, side))
