"""Which images are refused, and with what words, at and beside each limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_model import LIMIT, spec

from monai_bone_ssl.errors import ReasonCode, UnsupportedImage
from monai_bone_ssl.model.eligibility import (
    Eligible,
    Ineligible,
    check_eligibility,
    require_covered,
    tagged_body_part,
)

SPEC = spec(b"")


def logits(**probabilities: float) -> NDArray[np.float32]:
    """Body-part logits whose softmax is given; the rest is shared by the others."""
    names = [part.name for part in SPEC.body_parts]
    rest = (1 - sum(probabilities.values())) / (len(names) - len(probabilities))
    return np.log(np.array([probabilities.get(name, rest) for name in names]) + 1e-12).astype(np.float32) + 3


def judge(term: str | None, distance: float = 0.0, **probabilities: float) -> Eligible | Ineligible:
    return check_eligibility(tagged_body_part(term, SPEC), distance, logits(**probabilities), SPEC)


def accepted(*arguments: Any, **probabilities: float) -> Eligible:
    verdict = judge(*arguments, **probabilities)
    assert isinstance(verdict, Eligible)
    return verdict


def refused(*arguments: Any, **probabilities: float) -> Ineligible:
    verdict = judge(*arguments, **probabilities)
    assert isinstance(verdict, Ineligible)
    return verdict


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("WRIST", "hand"),
        ("HAND", "hand"),
        ("KNEE", "leg"),
        ("PELVIS", "hip"),
        ("CHEST", "CHEST"),
    ],
)
def test_tagged_body_part(term: str, expected: str) -> None:
    part = tagged_body_part(term, SPEC)
    assert part is not None
    assert (part.value, part.source, part.confidence) == (expected, "dicom", None)


@pytest.mark.parametrize("term", [None, "EXTREMITY", "ARM"])
def test_a_term_that_says_too_little_is_no_tag(term: str | None) -> None:
    assert tagged_body_part(term, SPEC) is None


def test_covered_parts_come_with_their_operating_points() -> None:
    (leg,) = (part for part in SPEC.body_parts if part.name == "leg")
    covered = require_covered("leg", SPEC)
    assert (covered.concept, covered.operating_points) == (leg.concept, leg.operating_points)
    assert accepted(None, leg=0.99).covered == covered


@pytest.mark.parametrize(
    ("name", "words"),
    [("hip", "hip (too few hip fractures to measure)"), ("CHEST", "chest (the model covers hand, leg)")],
)
def test_parts_that_are_not_covered_say_why(name: str, words: str) -> None:
    with pytest.raises(UnsupportedImage) as raised:
        require_covered(name, SPEC)
    assert raised.value.code is ReasonCode.BODY_PART_NOT_COVERED
    assert raised.value.text == f"body part not covered: {words}"


def test_distance_at_the_limit_is_accepted_and_beyond_it_refused() -> None:
    accepted(None, LIMIT, leg=0.99)
    error = refused(None, LIMIT + 0.5, leg=0.99).error
    assert error.code is ReasonCode.OUT_OF_DISTRIBUTION
    assert "distance 2.50, limit 2.00" in error.text


def test_the_header_is_believed_unless_the_image_clearly_differs() -> None:
    part = accepted("HAND", leg=0.93, hand=0.06).body_part  # conflict from 0.95
    assert (part.value, part.source) == ("hand", "dicom")
    assert part.confidence == pytest.approx(0.06, abs=1e-5)


def test_an_image_need_not_be_clear_to_contradict_the_header() -> None:
    """All other parts together count: here none of them is certain, but a hand it is not."""
    error = refused("HAND", hand=0.02, leg=0.6, hip=0.37).error
    assert error.code is ReasonCode.BODY_PART_CONFLICT
    assert error.text == "the header says hand, the image looks like leg (confidence 0.60)"


def test_an_image_that_contradicts_the_header_is_refused() -> None:
    error = refused("HAND", leg=0.96).error
    assert error.code is ReasonCode.BODY_PART_CONFLICT
    assert error.text == "the header says hand, the image looks like leg (confidence 0.96)"


def test_a_confident_image_that_agrees_is_no_conflict() -> None:
    assert accepted("HAND", hand=0.99).body_part.value == "hand"


def test_a_silent_header_leaves_it_to_the_image() -> None:
    part = accepted(None, leg=0.81).body_part  # certain from 0.8
    assert (part.value, part.source) == ("leg", "image")
    assert part.confidence == pytest.approx(0.81, abs=1e-5)


def test_a_silent_header_and_an_unclear_image_are_refused() -> None:
    verdict = refused(None, leg=0.79)
    assert verdict.error.code is ReasonCode.BODY_PART_UNCERTAIN
    assert verdict.body_part is None


def test_a_part_seen_in_the_image_may_not_be_covered_either() -> None:
    verdict = refused(None, hip=0.99)
    assert verdict.error.code is ReasonCode.BODY_PART_NOT_COVERED
    assert verdict.body_part is not None
    assert (verdict.body_part.value, verdict.body_part.source) == ("hip", "image")


def test_of_several_reasons_the_earlier_is_given() -> None:
    """Tag, distance, then the part that the image shows; what the header said is kept."""
    far, unclear = LIMIT + 1, {"leg": 0.5}
    assert refused("CHEST", far, leg=0.99).error.code is ReasonCode.BODY_PART_NOT_COVERED
    assert refused("HAND", far, leg=0.99).error.code is ReasonCode.OUT_OF_DISTRIBUTION
    assert refused(None, far, **unclear).error.code is ReasonCode.OUT_OF_DISTRIBUTION
    assert refused("HAND", far, leg=0.99).body_part == tagged_body_part("HAND", SPEC)


def test_large_logits_do_not_overflow() -> None:
    verdict = check_eligibility(None, 0.0, np.array([0, 1e4, -1e4, 5], np.float32), SPEC)
    assert isinstance(verdict, Eligible)
    assert (verdict.body_part.value, verdict.body_part.confidence) == ("leg", 1.0)
