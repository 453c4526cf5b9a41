"""What a reader says about one image, and how that stands to what the algorithm said."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Literal

import msgspec

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.findings import Decision, Target

__all__ = [
    "Agreement",
    "Location",
    "Reading",
    "Verdict",
    "agreement",
    "describe_reading",
    "reading_for",
]


class Reading(StrEnum):
    """A reader's answer to the target's question."""

    NORMAL = "normal"
    """The condition is absent."""
    ABNORMAL = "abnormal"
    """The condition is present."""
    UNCERTAIN = "uncertain"
    BAD_IMAGE = "bad_image"
    """The image does not let anybody answer."""


class Agreement(StrEnum):
    """A reading as it stands to the algorithm's decision."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNCERTAIN = "uncertain"
    BAD_IMAGE = "bad_image"


_SAME_WORDS = {Reading.UNCERTAIN: Agreement.UNCERTAIN, Reading.BAD_IMAGE: Agreement.BAD_IMAGE}
_CONFIRMS = {Decision.NEGATIVE: Reading.NORMAL, Decision.POSITIVE: Reading.ABNORMAL}
_CONTRADICTS = {Decision.NEGATIVE: Reading.ABNORMAL, Decision.POSITIVE: Reading.NORMAL}


def agreement(reading: Reading, decision: Decision | None) -> Agreement | None:
    """How a reading stands to a decision.

    Returns
    -------
    None where the reading is normal or abnormal and the algorithm said neither yes nor no.
    """
    if reading in _SAME_WORDS:
        return _SAME_WORDS[reading]
    confirmed = None if decision is None else _CONFIRMS.get(decision)
    if confirmed is None:
        return None
    return Agreement.AGREE if reading is confirmed else Agreement.DISAGREE


def reading_for(stance: Agreement, decision: Decision | None) -> Reading:
    """What somebody says who agrees or disagrees with a decision: the reverse of :func:`agreement`.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where there is no yes or no to agree with.
    """
    for reading, same in _SAME_WORDS.items():
        if stance is same:
            return reading
    if decision is None or decision not in _CONFIRMS:
        text = f"{decision or 'no decision'}: expected positive or negative to {stance.value} with"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    return (_CONFIRMS if stance is Agreement.AGREE else _CONTRADICTS)[decision]


_WORDS = {
    Reading.NORMAL: "No {}",
    Reading.ABNORMAL: "{}",
    Reading.UNCERTAIN: "Uncertain for {}",
    Reading.BAD_IMAGE: "Image not readable for {}",
}


def describe_reading(reading: Reading, target: Target) -> str:
    """A reading in words, such as "No fracture"."""
    words = _WORDS[reading].format(target.name)
    return words[:1].upper() + words[1:]


_POINTS = {"point": 1, "box": 2, "ruler": 2}


class Location(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place in one image that a reader marked.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the points are not those of the kind, not finite, or a length is none.
    """

    kind: Literal["point", "box", "ruler"]
    points: tuple[tuple[float, float], ...]
    """(row, column) in source pixels from 0, pixel centres at integers. A box has two opposite corners, a
    ruler two ends."""
    length_mm: float | None = None
    """Of a ruler, where the image says how large its pixels are."""

    def __post_init__(self) -> None:
        if len(self.points) != _POINTS[self.kind]:
            text = f"{self.kind} with {len(self.points)} points, expected {_POINTS[self.kind]}"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        if not all(math.isfinite(value) for point in self.points for value in point):
            raise ConfigError(ReasonCode.INVALID_CONFIG, f"{self.kind}: expected finite coordinates")
        if self.length_mm is not None and not (
            self.kind == "ruler" and math.isfinite(self.length_mm) and self.length_mm > 0
        ):
            text = f"{self.kind} of {self.length_mm} mm, expected a positive length, and of a ruler only"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one reader says about one image.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the confidence is not 1 to 5 or the time is negative.
    """

    key: str
    """Of the worklist's case."""
    sop_instance_uid: str | None
    study_instance_uid: str | None
    reading: Reading
    agreement: Agreement | None
    decision: Decision | None
    """The algorithm's, at that time."""
    confidence: int | None = None
    """From 1, a guess, to 5, sure."""
    comment: str = ""
    locations: tuple[Location, ...] = ()
    flagged: bool = False
    """To come back to, or to show somebody."""
    adjudicated: bool = False
    """It settles a disagreement between readers."""
    blinded: bool = False
    """It was given before the algorithm's result was shown."""
    first_reading: Reading | None = None
    """What was said before the algorithm's result was shown; None where it was shown at once."""
    model_version: str | None = None
    read_at: str
    """ISO 8601 with offset."""
    seconds: float
    """Time the image was open."""

    def __post_init__(self) -> None:
        if self.confidence is not None and not 1 <= self.confidence <= 5:
            text = f"confidence {self.confidence}, expected 1 to 5"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ConfigError(ReasonCode.INVALID_CONFIG, f"{self.seconds} seconds, expected 0 or more")
