"""Verdict of a reader on one image, and whether it agrees with the algorithm."""

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
    """Relation of a reading to the algorithm's decision."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNCERTAIN = "uncertain"
    BAD_IMAGE = "bad_image"


_SAME_WORDS = {Reading.UNCERTAIN: Agreement.UNCERTAIN, Reading.BAD_IMAGE: Agreement.BAD_IMAGE}
_CONFIRMS = {Decision.NEGATIVE: Reading.NORMAL, Decision.POSITIVE: Reading.ABNORMAL}
_CONTRADICTS = {Decision.NEGATIVE: Reading.ABNORMAL, Decision.POSITIVE: Reading.NORMAL}


def agreement(reading: Reading, decision: Decision | None) -> Agreement | None:
    """Compare a reading with a decision.

    Returns
    -------
    The agreement; None where the reading is normal or abnormal and the algorithm said neither yes nor no.
    """
    if reading in _SAME_WORDS:
        return _SAME_WORDS[reading]
    confirmed = None if decision is None else _CONFIRMS.get(decision)
    if confirmed is None:
        return None
    return Agreement.AGREE if reading is confirmed else Agreement.DISAGREE


def reading_for(stance: Agreement, decision: Decision | None) -> Reading:
    """Reading of somebody who agrees or disagrees with a decision: the reverse of :func:`agreement`.

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
    """Put a reading into words, such as "No fracture"."""
    words = _WORDS[reading].format(target.name)
    return words[:1].upper() + words[1:]


_POINTS = {"point": 1, "box": 2, "ruler": 2}


class Location(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place in one image that a reader marked.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the number of points is not that of the kind, a coordinate is not finite, or
        the length is not positive or not a ruler's.
    """

    kind: Literal["point", "box", "ruler"]
    points: tuple[tuple[float, float], ...]
    """Points (row, column) in source pixels from 0, pixel centres at integers: two opposite corners of a box,
    two ends of a ruler."""
    length_mm: float | None = None
    """Length of a ruler in millimetres; None where the image does not say how large its pixels are."""

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
    """Verdict of one reader on one image.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the confidence is not 1 to 5 or the time is negative.
    """

    key: str
    """Key of the worklist's case."""
    sop_instance_uid: str | None
    study_instance_uid: str | None
    reading: Reading
    agreement: Agreement | None
    decision: Decision | None
    """Decision of the algorithm at the time of the verdict."""
    confidence: int | None = None
    """Confidence from 1, a guess, to 5, sure."""
    comment: str = ""
    locations: tuple[Location, ...] = ()
    flagged: bool = False
    """Whether the reader wants to come back to the image, or to show it to somebody."""
    adjudicated: bool = False
    """Whether the verdict settles a disagreement between readers."""
    blinded: bool = False
    """Whether the verdict was given before the algorithm's result was shown."""
    first_reading: Reading | None = None
    """Reading before the algorithm's result was shown; None where the result was shown at once."""
    model_version: str | None = None
    read_at: str
    """Time of the verdict, ISO 8601 with offset."""
    seconds: float
    """Time that the image was open, in seconds."""

    def __post_init__(self) -> None:
        if self.confidence is not None and not 1 <= self.confidence <= 5:
            text = f"confidence {self.confidence}, expected 1 to 5"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ConfigError(ReasonCode.INVALID_CONFIG, f"{self.seconds} seconds, expected 0 or more")
