"""Whether an image is one the model was made for: body part, and distance to the training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.body_parts import UNSPECIFIC_TERMS
from monai_bone_ssl.errors import ReasonCode, UnsupportedImage
from monai_bone_ssl.findings import BodyPart, CodedConcept, OperatingPoints
from monai_bone_ssl.model.spec import ModelSpec

__all__ = [
    "CoveredPart",
    "Eligible",
    "Ineligible",
    "check_eligibility",
    "require_covered",
    "tagged_body_part",
]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CoveredPart:
    """A body part for which the model has operating points."""

    concept: CodedConcept
    operating_points: OperatingPoints


@dataclass(frozen=True)
class Eligible:
    """The model was made for the image."""

    body_part: BodyPart
    covered: CoveredPart
    """The model's entry for the body part."""


@dataclass(frozen=True)
class Ineligible:
    """The model was not made for the image."""

    error: UnsupportedImage
    """Why the model was not made for the image."""
    body_part: BodyPart | None
    """Body part, as far as it is known."""


def tagged_body_part(term: str | None, spec: ModelSpec) -> BodyPart | None:
    """The model's body part that a header's term belongs to, not yet confirmed by the image.

    Returns
    -------
    The part, under the term itself where the model has no such part; None where the header names no part.
    """
    if term is None or term in UNSPECIFIC_TERMS:
        return None
    name = next((part.name for part in spec.body_parts if term in part.terms), term)
    return BodyPart(name, "dicom", None)


def require_covered(name: str, spec: ModelSpec) -> CoveredPart:
    """The model's entry for a body part.

    Raises
    ------
    UnsupportedImage
        ``BODY_PART_NOT_COVERED`` with the parts that the model covers, or why this one is left out.
    """
    part = spec.body_part(name)
    if part is not None and part.operating_points is not None:
        return CoveredPart(part.concept, part.operating_points)
    covered = ", ".join(part.name for part in spec.body_parts if part.operating_points is not None)
    why = part.not_covered if part is not None and part.not_covered else f"the model covers {covered}"
    raise UnsupportedImage(ReasonCode.BODY_PART_NOT_COVERED, f"body part not covered: {name.lower()} ({why})")


def check_eligibility(
    tagged: BodyPart | None, distance: float, body_part_logits: FloatArray, spec: ModelSpec
) -> Eligible | Ineligible:
    """Judge what the network saw, in the order in which every front gives reasons.

    A tagged part that is not covered comes first, so that a front may check the tag with
    :func:`require_covered` before the network runs, and gives the same reason.

    Parameters
    ----------
    tagged
        Body part by :func:`tagged_body_part`.
    distance
        Distance of the image to the training images.
    body_part_logits
        Logits of the body parts [P], in the order of ``spec.body_parts``.
    spec
        Specification of the model.

    Returns
    -------
    :class:`Ineligible` with the code ``BODY_PART_NOT_COVERED``; ``OUT_OF_DISTRIBUTION`` where the features
    lie too far from the training images; ``BODY_PART_CONFLICT`` where the image clearly does not show
    the part in the header; or ``BODY_PART_UNCERTAIN`` where the header names none and the image is not clear.
    """
    part = tagged
    try:
        if tagged is not None:
            require_covered(tagged.value, spec)
        _check_distance(distance, spec)
        part = _recognise(tagged, body_part_logits, spec)
        return Eligible(part, require_covered(part.value, spec))
    except UnsupportedImage as error:
        return Ineligible(error, part)


def _check_distance(distance: float, spec: ModelSpec) -> None:
    limit = spec.out_of_distribution.distance
    if distance > limit:
        raise UnsupportedImage(
            ReasonCode.OUT_OF_DISTRIBUTION,
            f"unlike the radiographs the model was made with (distance {distance:.2f}, limit {limit:.2f})",
        )


def _recognise(tagged: BodyPart | None, logits: FloatArray, spec: ModelSpec) -> BodyPart:
    """Body part from the header where one is named there, confirmed by the image; else from the image."""
    shares = np.exp(logits - logits.max())
    shares = shares / shares.sum()
    names = [part.name for part in spec.body_parts]
    seen, confidence = names[int(shares.argmax())], float(shares.max())
    limits = spec.out_of_distribution
    if tagged is not None:
        agreement = float(shares[names.index(tagged.value)])
        if 1 - agreement >= limits.conflict_confidence:
            seen_text = f"the image looks like {seen} (confidence {confidence:.2f})"
            raise UnsupportedImage(
                ReasonCode.BODY_PART_CONFLICT, f"the header says {tagged.value}, {seen_text}"
            )
        return BodyPart(tagged.value, "dicom", agreement)
    if confidence < limits.body_part_confidence:
        text = f"the header names no body part and the image is unclear ({seen}, confidence {confidence:.2f})"
        raise UnsupportedImage(ReasonCode.BODY_PART_UNCERTAIN, text)
    return BodyPart(seen, "image", confidence)
