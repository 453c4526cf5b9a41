"""What the network computed, turned into an answer."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from tiny_model import spec

from monai_bone_ssl.findings import Decision, OperatingPoints, PixelBox
from monai_bone_ssl.model.answer import Answer
from monai_bone_ssl.model.spec import PatchProbeSpec
from monai_bone_ssl.stats.calibration import Calibration

POINTS = OperatingPoints(high_sensitivity=0.2, high_specificity=0.7)
SCORES = np.array([[0.1, -0.2, 0.3], [0.0, 0.9, -100.0]], dtype=np.float32)
SPEC = msgspec.structs.replace(
    spec(b""),
    calibration=Calibration(slope=2.0, intercept=-1.0),
    patch_probe=PatchProbeSpec("image labels", Calibration(slope=4.0, intercept=-2.0), 0.6, 0.9),
)


def answer(logit: float, shape: tuple[int, int] = (20, 60)) -> Answer:
    return Answer.of(logit, SCORES, shape, POINTS, SPEC)


def logit_of(probability: float) -> float:
    return (math.log(probability / (1 - probability)) + 1) / 2


@pytest.mark.parametrize(
    ("probability", "decision"),
    [(0.1, Decision.NEGATIVE), (0.4, Decision.INDETERMINATE), (0.9, Decision.POSITIVE)],
)
def test_an_answer_is_the_calibrated_logit_at_the_points(probability: float, decision: Decision) -> None:
    found = answer(logit_of(probability))
    assert found.probability == pytest.approx(probability)
    assert (found.logit, found.decision, found.points) == (logit_of(probability), decision, POINTS)


def test_evidence_is_the_calibrated_score_of_each_patch() -> None:
    expected = 1 / (1 + np.exp(-(4.0 * SCORES.astype(np.float64) - 2.0)))
    evidence = answer(0.0).evidence
    assert evidence.dtype == np.float32
    np.testing.assert_allclose(evidence, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("probability", [0.4, 0.9])
def test_regions_are_where_the_evidence_reaches_the_operating_point(probability: float) -> None:
    (region,) = answer(logit_of(probability)).regions
    assert (region.row, region.column, region.height, region.width) == (10, 20, 10, 20)
    assert region.probability == pytest.approx(1 / (1 + math.exp(-1.6)))
    assert region.certainty == "possible"


def test_a_negative_image_has_no_region() -> None:
    assert answer(logit_of(0.1)).regions == ()


@pytest.mark.parametrize(
    ("shape", "box"), [((20, 60), PixelBox(10, 20, 20, 40)), ((3, 4), PixelBox(1.5, 4 / 3, 3, 8 / 3))]
)
def test_the_peak_is_the_patch_with_the_highest_score(shape: tuple[int, int], box: PixelBox) -> None:
    found = answer(0.0, shape).peak_box
    for side in ("top", "left", "bottom", "right"):
        assert getattr(found, side) == pytest.approx(getattr(box, side))
