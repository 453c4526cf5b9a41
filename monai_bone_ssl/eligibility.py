"""Whether an image is one the model was made for: body part, and distance to the training images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.body_parts import UNSPECIFIC_TERMS
from monai_bone_ssl.errors import ReasonCode, UnsupportedImage
from monai_bone_ssl.findings import BodyPart
from monai_bone_ssl.model_spec import BodyPartSpec, ModelSpec

__all__ = ["check_distance", "recognise_body_part", "require_covered", "tagged_body_part"]


def tagged_body_part(term: str | None, spec: ModelSpec) -> str | None:
    """Name of the model's body part that a header's term belongs to.

    Returns
    -------
    The name; the term itself where the model has no such part; None where the header does not say.
    """
    if term is None or term in UNSPECIFIC_TERMS:
        return None
    return next((part.name for part in spec.body_parts if term in part.terms), term)


def require_covered(name: str, spec: ModelSpec) -> BodyPartSpec:
    """The model's entry for a covered body part.

    Raises
    ------
    UnsupportedImage
        ``BODY_PART_NOT_COVERED`` with what the model covers, or why this part is left out.
    """
    part = next((part for part in spec.body_parts if part.name == name), None)
    if part is not None and part.operating_points is not None:
        return part
    covered = ", ".join(part.name for part in spec.body_parts if part.operating_points is not None)
    why = part.not_covered if part is not None and part.not_covered else f"the model covers {covered}"
    raise UnsupportedImage(ReasonCode.BODY_PART_NOT_COVERED, f"body part not covered: {name.lower()} ({why})")


def check_distance(distance: float, spec: ModelSpec) -> None:
    """Refuse an image whose features lie too far from the training images'.

    Raises
    ------
    UnsupportedImage
        ``OUT_OF_DISTRIBUTION``.
    """
    limit = spec.out_of_distribution.distance
    if distance > limit:
        raise UnsupportedImage(
            ReasonCode.OUT_OF_DISTRIBUTION,
            f"unlike the radiographs the model was made with (distance {distance:.2f}, limit {limit:.2f})",
        )


def recognise_body_part(tagged: str | None, logits: npt.NDArray[np.float32], spec: ModelSpec) -> BodyPart:
    """Body part from the header where it speaks, confirmed by the image; else from the image.

    Parameters
    ----------
    tagged
        What :func:`tagged_body_part` says; one of the model's parts, or None.
    logits
        Body-part logits [P] of the image, in the order of ``spec.body_parts``.

    Raises
    ------
    UnsupportedImage
        ``BODY_PART_CONFLICT`` where the image clearly shows another part than the header names,
        ``BODY_PART_UNCERTAIN`` where the header is silent and the image is not clear.
    """
    shares = np.exp(logits - logits.max())
    shares = shares / shares.sum()
    names = [part.name for part in spec.body_parts]
    seen = names[int(shares.argmax())]
    limits = spec.out_of_distribution
    if tagged is not None:
        if seen != tagged and shares.max() >= limits.conflict_confidence:
            text = f"the header says {tagged}, the image looks like {seen} (confidence {shares.max():.2f})"
            raise UnsupportedImage(ReasonCode.BODY_PART_CONFLICT, text)
        return BodyPart(tagged, "dicom", float(shares[names.index(tagged)]))
    if shares.max() < limits.body_part_confidence:
        text = (
            f"the header names no body part and the image is unclear ({seen}, confidence {shares.max():.2f})"
        )
        raise UnsupportedImage(ReasonCode.BODY_PART_UNCERTAIN, text)
    return BodyPart(seen, "image", float(shares.max()))
