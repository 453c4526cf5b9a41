"""model.json: everything about a model but its weights (contract C1), read strictly."""

from __future__ import annotations

from typing import Annotated, Literal

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
    "PatchProbeSpec",
    "TrainingData",
]

#: Raised whenever a model.json of this version could be misread by an older reader.
MODEL_SCHEMA_VERSION = 2

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Immutable part of model.json, in which an unknown key is an error."""


class BodyPartSpec(_Strict, frozen=True):
    """A body part the network can tell apart, and the operating points where it is covered."""

    name: str
    """Name of the body part in this model."""
    concept: CodedConcept
    """Coded anatomic region, for images whose header names no finer one."""
    terms: tuple[str, ...]
    """Body Part Examined terms that belong to the part."""
    operating_points: OperatingPoints | None
    """Thresholds of the part; None for a part that the model recognises but does not cover."""
    not_covered: str | None = None
    """Why the part is not covered, in words."""

    def __post_init__(self) -> None:
        points = self.operating_points
        if points is not None and not 0 <= points.high_sensitivity <= points.high_specificity <= 1:
            raise ValueError(
                f"{self.name}: expected 0 <= high_sensitivity <= high_specificity <= 1, got {points}"
            )


class PatchProbeSpec(_Strict, frozen=True):
    """From the scores of patches to the regions that readers see."""

    fitted_to: Literal["outlines", "image labels"]
    """What the patch probe learned from: outlined findings, or labels of whole images alone."""
    calibration: Calibration
    """From the highest score of a region to the probability that it shows the target."""
    possible: Probability
    """Probability from which on a region is drawn."""
    certain: Probability
    """Probability from which on a region is certain."""

    def __post_init__(self) -> None:
        if not self.possible <= self.certain:
            raise ValueError(f"expected possible <= certain, got {self.possible} and {self.certain}")


class OutOfDistribution(_Strict, frozen=True):
    """Limits beyond which an image is not what the model was trained on."""

    distance: float
    """Largest accepted distance of the features to the training images, measured as ``method`` says."""
    body_part_confidence: Probability
    """Smallest accepted probability of the body-part probe where the header does not name the part."""
    conflict_confidence: Probability
    """Probability of all other parts together from which the probe contradicts the part in the header."""
    method: str
    """How the distance is measured, in words."""


class TrainingData(_Strict, frozen=True):
    """Origin and size of a set of labelled images."""

    name: str
    """Name of the data set."""
    source: str
    """Publication or address of the data set."""
    licence: str
    """Licence of the data set."""
    n: Count
    """Number of images."""
    n_positive: Count
    """Number of positive images."""
    n_groups: Count
    """Number of patients, or of what stands for them; never split between folds."""


class Figure(_Strict, frozen=True):
    """A measured value with both ends of the 95 % interval."""

    value: float
    """Measured value."""
    ci_low: float
    """Lower end of the interval."""
    ci_high: float
    """Upper end of the interval."""


class ModelSpec(_Strict, frozen=True):
    """Content of model.json."""

    schema_version: Annotated[int, msgspec.Meta(ge=MODEL_SCHEMA_VERSION, le=MODEL_SCHEMA_VERSION)]
    """Version of the layout of model.json."""
    name: str
    """Name of the model."""
    version: str
    """Version of the model."""
    architecture: str
    """Backbone and pooling, in words."""
    preprocessing: PreprocessSpec
    target: Target
    body_parts: Annotated[tuple[BodyPartSpec, ...], msgspec.Meta(min_length=1)]
    """Body parts in the order of the network's ``body_part_logits``."""
    calibration: Calibration
    out_of_distribution: OutOfDistribution
    patch_probe: PatchProbeSpec
    training_data: tuple[TrainingData, ...]
    figures: dict[str, Figure]
    """Figures by name, cross-validated in groups on the training data; the model card explains each."""
    weights_sha256: Sha256
    """Hash of model.onnx, in hexadecimal."""
    libraries: dict[str, str]
    """Versions of the libraries that made the model, by name."""
    cases_sha256: Sha256 | None = None
    """Hash of cases.npz, the labelled images to show beside similar ones; None without such a file."""
    parent_weights_sha256: Sha256 | None = None
    """Hash of the weights that a site adapted; None for a model that no site adapted."""

    def body_part(self, name: str) -> BodyPartSpec | None:
        """Entry of a body part; None where the model does not know the part."""
        return next((part for part in self.body_parts if part.name == name), None)
