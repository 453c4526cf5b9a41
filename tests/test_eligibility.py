"""Which images are refused, and with what words, at and beside each limit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_model import LIMIT, spec

from monai_bone_ssl.eligibility import (
    check_distance,
    recognise_body_part,
    require_covered,
    tagged_body_part,
)
from monai_bone_ssl.errors import ReasonCode, UnsupportedImage

SPEC = spec(b"")


def logits(**probabilities: float) -> NDArray[np.float32]:
    """Body-part logits whose softmax is given; the rest is shared by the others."""
    names = [part.name for part in SPEC.body_parts]
    rest = (1 - sum(probabilities.values())) / (len(names) - len(probabilities))
    return np.log(np.array([probabilities.get(name, rest) for name in names]) + 1e-12).astype(np.float32) + 3


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("WRIST", "hand"),
        ("HAND", "hand"),
        ("KNEE", "leg"),
        ("PELVIS", "hip"),
        ("CHEST", "CHEST"),
        (None, None),
        ("EXTREMITY", None),
        ("ARM", None),
    ],
)
def test_tagged_body_part(term: str | None, expected: str | None) -> None:
    assert tagged_body_part(term, SPEC) == expected


def test_covered_parts_come_with_their_operating_points() -> None:
    assert require_covered("leg", SPEC).name == "leg"
    assert require_covered("leg", SPEC).operating_points is not None


@pytest.mark.parametrize(
    ("name", "words"),
    [("hip", "hip (too few hip fractures to measure)"), ("CHEST", "chest (the model covers hand, leg)")],
)
def test_parts_that_are_not_covered_say_why(name: str, words: str) -> None:
    with pytest.raises(UnsupportedImage) as refused:
        require_covered(name, SPEC)
    assert refused.value.code is ReasonCode.BODY_PART_NOT_COVERED
    assert refused.value.text == f"body part not covered: {words}"


def test_distance_at_the_limit_is_accepted_and_beyond_it_refused() -> None:
    check_distance(LIMIT, SPEC)
    with pytest.raises(UnsupportedImage, match=r"distance 2\.50, limit 2\.00") as refused:
        check_distance(LIMIT + 0.5, SPEC)
    assert refused.value.code is ReasonCode.OUT_OF_DISTRIBUTION


def test_the_header_is_believed_unless_the_image_clearly_differs() -> None:
    part = recognise_body_part("hand", logits(leg=0.94, hand=0.05), SPEC)  # conflict from 0.95
    assert (part.value, part.source) == ("hand", "dicom")
    assert part.confidence == pytest.approx(0.05, abs=1e-5)


def test_an_image_that_contradicts_the_header_is_refused() -> None:
    with pytest.raises(UnsupportedImage) as refused:
        recognise_body_part("hand", logits(leg=0.96), SPEC)
    assert refused.value.code is ReasonCode.BODY_PART_CONFLICT
    assert refused.value.text == "the header says hand, the image looks like leg (confidence 0.96)"


def test_a_confident_image_that_agrees_is_no_conflict() -> None:
    assert recognise_body_part("hand", logits(hand=0.99), SPEC).value == "hand"


def test_a_silent_header_leaves_it_to_the_image() -> None:
    part = recognise_body_part(None, logits(leg=0.81), SPEC)  # certain from 0.8
    assert (part.value, part.source) == ("leg", "image")
    assert part.confidence == pytest.approx(0.81, abs=1e-5)


def test_a_silent_header_and_an_unclear_image_are_refused() -> None:
    with pytest.raises(UnsupportedImage) as refused:
        recognise_body_part(None, logits(leg=0.79), SPEC)
    assert refused.value.code is ReasonCode.BODY_PART_UNCERTAIN


def test_large_logits_do_not_overflow() -> None:
    part = recognise_body_part(None, np.array([0, 1e4, -1e4, 5], np.float32), SPEC)
    assert (part.value, part.confidence) == ("leg", 1.0)
