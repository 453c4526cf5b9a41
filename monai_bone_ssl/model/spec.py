"""model.json: everything about a model but its weights (contract C1), read strictly."""

from __future__ import annotations

from typing import Annotated

import msgspec

from monai_bone_ssl.findings import CodedConcept, OperatingPoints, Target
from monai_bone_ssl.model.preprocessing import PreprocessSpec
from monai_bone_ssl.stats.calibration import Calibration

__all__ = [
    "MODEL_SCHEMA_VERSION",
    "BodyPartSpec",
    "Figure",
    "ModelSpec",
    "OutOfDistribution",
    "TrainingData",
]

#: Raised whenever a model.json of this version could be misread by an older reader.
MODEL_SCHEMA_VERSION = 1

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Immutable; an unknown key is an error."""


class BodyPartSpec(_Strict, frozen=True):
    """A body part the network can tell apart, and the operating points where it is covered."""

    name: str
    concept: CodedConcept
    """Coded region, for findings whose image has no finer tag."""
    terms: tuple[str, ...]
    """Body Part Examined terms that belong to it."""
    operating_points: OperatingPoints | None
    """None: recognised but not covered; ``not_covered`` says why."""
    not_covered: str | None = None

    def __post_init__(self) -> None:
        points = self.operating_points
        if points is not None and not 0 <= points.high_sensitivity <= points.high_specificity <= 1:
            raise ValueError(
                f"{self.name}: expected 0 <= high_sensitivity <= high_specificity <= 1, got {points}"
            )


class OutOfDistribution(_Strict, frozen=True):
    """Limits beyond which an image is not what the model was trained on."""

    distance: float
    """Largest accepted distance of the features to the training images, see ``method``."""
    body_part_confidence: Probability
    """Smallest accepted probability of the body-part probe where the header does not name the part."""
    conflict_confidence: Probability
    """Probability from which the body-part probe contradicts a header that names another part."""
    method: str


class TrainingData(_Strict, frozen=True):
    """Where the labels came from."""

    name: str
    source: str
    licence: str
    n: Count
    n_positive: Count
    n_groups: Count
    """Patients, or what stands for them; never split between folds."""


class Figure(_Strict, frozen=True):
    """A measured value with its 95 % interval."""

    value: float
    ci_low: float
    ci_high: float


class ModelSpec(_Strict, frozen=True):
    """The content of model.json."""

    schema_version: Annotated[int, msgspec.Meta(ge=MODEL_SCHEMA_VERSION, le=MODEL_SCHEMA_VERSION)]
    name: str
    version: str
    architecture: str
    preprocessing: PreprocessSpec
    target: Target
    body_parts: Annotated[tuple[BodyPartSpec, ...], msgspec.Meta(min_length=1)]
    """In the order of the network's ``body_part_logits``."""
    calibration: Calibration
    out_of_distribution: OutOfDistribution
    evidence_limit: Annotated[float, msgspec.Meta(gt=0)]
    """Evidence of one patch, in logit, that overlays draw at full colour."""
    training_data: tuple[TrainingData, ...]
    figures: dict[str, Figure]
    """Cross-validated on the training data, grouped; what each means is in the model card."""
    weights_sha256: Sha256
    libraries: dict[str, str]
    """Versions of what made the model."""
    cases_sha256: Sha256 | None = None
    """Of cases.npz, the labelled training images to show beside similar ones; None: there is no such file."""
    parent_weights_sha256: Sha256 | None = None
    """Of the model that this one was adapted from at a site; None: it was not."""

    def body_part(self, name: str) -> BodyPartSpec | None:
        """What the model says of a body part; None where it does not know it."""
        return next((part for part in self.body_parts if part.name == name), None)
