"""Logit and operating points to findings: the three states, the coded concepts and every wording.

Whatever a front shows or writes about an image or a study comes from here, so that the command line,
the report, the page and the viewer never say different things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from pydicom import Dataset

from monai_bone_ssl.errors import BoneSSLError, ReasonCode, UnsupportedImage

__all__ = [
    "ABNORMALITY",
    "FRACTURE",
    "UNVERIFIED",
    "BodyPart",
    "CodedConcept",
    "Decision",
    "ImageAnalysis",
    "ImageFinding",
    "OperatingPoints",
    "Peak",
    "PixelBox",
    "Reason",
    "Status",
    "StudyFinding",
    "Target",
    "decide",
    "describe_body_part",
    "describe_image",
    "describe_study",
    "study_finding",
    "unanalysed",
]


#: Stands beside every result that a person sees.
UNVERIFIED = "Algorithm result, not verified by a reader"


class Status(StrEnum):
    """Whether an image, or a study, was analysed."""

    ANALYSED = "analysed"
    PARTIALLY_ANALYSED = "partially_analysed"  # studies only
    NOT_ANALYSED = "not_analysed"
    FAILED = "failed"


class Decision(StrEnum):
    """Three states from two operating points."""

    NEGATIVE = "negative"
    INDETERMINATE = "indeterminate"
    POSITIVE = "positive"


class CodedConcept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code of a coding scheme, as DICOM PS3.3 section 8 writes it."""

    value: str
    scheme: str
    meaning: str


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model looks for, and how its three answers are coded."""

    name: str
    finding: CodedConcept
    """The condition itself, value of (121071, DCM, "Finding")."""
    question: CodedConcept
    """Concept name of the qualitative evaluation that carries the answer."""
    negative: CodedConcept
    indeterminate: CodedConcept
    positive: CodedConcept

    def answer(self, decision: Decision) -> CodedConcept:
        """Coded answer to the target's question."""
        return {
            Decision.NEGATIVE: self.negative,
            Decision.INDETERMINATE: self.indeterminate,
            Decision.POSITIVE: self.positive,
        }[decision]


#: Fracture: present, absent or undetermined (DICOM PS3.16 CID 240). The question names the condition, so
#: that the pair "Fracture = Absent" says all of it wherever it is shown.
FRACTURE = Target(
    name="fracture",
    finding=CodedConcept("125605004", "SCT", "Fracture"),
    question=CodedConcept("125605004", "SCT", "Fracture"),
    negative=CodedConcept("272519000", "SCT", "Absent"),
    indeterminate=CodedConcept("373068000", "SCT", "Undetermined"),
    positive=CodedConcept("52101004", "SCT", "Present"),
)

#: Any abnormality, as MURA labels its studies (DICOM PS3.16 CID 242).
ABNORMALITY = Target(
    name="abnormality",
    finding=CodedConcept("263654008", "SCT", "Abnormal"),
    question=CodedConcept("121402", "DCM", "Normality"),
    negative=CodedConcept("17621005", "SCT", "Normal"),
    indeterminate=CodedConcept("371934000", "SCT", "Normality Undetermined"),
    positive=CodedConcept("263654008", "SCT", "Abnormal"),
)


class OperatingPoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two thresholds on the calibrated probability, fixed on out-of-fold predictions of the training data."""

    high_sensitivity: float
    """Below it: negative."""
    high_specificity: float
    """At it or above: positive."""


class Reason(msgspec.Struct, frozen=True):
    """Why an image was not analysed."""

    code: ReasonCode
    text: str


class BodyPart(msgspec.Struct, frozen=True):
    """Body part of one image."""

    value: str
    """Name of one of the model's body parts, or the DICOM term where the model does not cover it."""
    source: str
    """``dicom`` where the header says it, ``image`` where the body-part probe does."""
    confidence: float | None
    """Probability of the body-part probe; None where the image was not looked at."""


class Peak(msgspec.Struct, frozen=True):
    """Centre of the patch with the largest evidence, in source pixels from 0."""

    row: int
    column: int


class ImageFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``images`` in result.json (contract C3)."""

    path: str
    """As it was given, or found under a given folder."""
    sop_instance_uid: str | None = None
    study_instance_uid: str | None = None
    status: Status
    reason: Reason | None = None
    """None where the image was analysed."""
    body_part: BodyPart | None = None
    """As far as it was known when the image was refused, if it was."""
    probability: float | None = None
    """Calibrated, from 0 to 1; None where the image was not analysed, as decision and peak are."""
    decision: Decision | None = None
    peak: Peak | None = None
    seconds: float
    """Time spent on the file."""


class StudyFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``studies`` in result.json (contract C3)."""

    study_instance_uid: str
    status: Status
    probability: float | None = None
    """Of the most severe image; None where none was analysed."""
    decision: Decision | None = None
    """The most severe image's; negative only where every radiograph of the study was analysed."""
    sr_path: str | None = None
    """Name of the report, beside result.json; None where there is none."""


@dataclass(frozen=True)
class PixelBox:
    """A rectangle in source pixels, edges in [0, rows] x [0, columns]."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def centre(self) -> Peak:
        """The pixel in its middle."""
        return Peak(int((self.top + self.bottom) / 2), int((self.left + self.right) / 2))


@dataclass(frozen=True)
class ImageAnalysis:
    """A finding with what a report or a page needs beside it. Holds no pixels."""

    finding: ImageFinding
    header: Dataset | None = None
    """The source's header without pixel data; None where the file is not DICOM."""
    anatomy: CodedConcept | None = None
    """The anatomic region as finely as the header or the image tells it."""
    laterality: str | None = None
    """``R``, ``L`` or ``B`` (DICOM Image Laterality); None where the header does not say."""
    points: OperatingPoints | None = None
    peak_box: PixelBox | None = None
    """The patch of the peak."""


def decide(probability: float, points: OperatingPoints) -> Decision:
    """Three-state decision: negative < high_sensitivity <= indeterminate < high_specificity <= positive."""
    if probability >= points.high_specificity:
        return Decision.POSITIVE
    if probability >= points.high_sensitivity:
        return Decision.INDETERMINATE
    return Decision.NEGATIVE


def unanalysed(error: BoneSSLError) -> tuple[Status, Reason]:
    """Status and reason of an image that raised ``error``."""
    status = Status.NOT_ANALYSED if isinstance(error, UnsupportedImage) else Status.FAILED
    return status, Reason(code=error.code, text=error.text)


_SEVERITY = {Decision.NEGATIVE: 0, Decision.INDETERMINATE: 1, Decision.POSITIVE: 2}

# Files that say nothing about the patient's bones: a study may be negative although they were not analysed.
_BESIDE_THE_POINT = frozenset(
    {ReasonCode.NOT_DICOM, ReasonCode.UNSUPPORTED_SOP_CLASS, ReasonCode.DUPLICATE_INSTANCE}
)


def study_finding(study_instance_uid: str, images: Sequence[ImageFinding]) -> StudyFinding:
    """Conclusion for a study: its most severe image.

    A study is negative only if every radiograph in it was analysed and is negative; with one left out it
    is indeterminate, because nobody has looked at that one.
    """
    analysed = [image for image in images if image.decision is not None]
    left_out = [i for i in images if i.reason is not None and i.reason.code not in _BESIDE_THE_POINT]
    if not analysed:
        failed = any(image.status is Status.FAILED for image in images)
        status = Status.FAILED if failed else Status.NOT_ANALYSED
        return StudyFinding(study_instance_uid=study_instance_uid, status=status)
    worst = max(analysed, key=lambda i: (_SEVERITY[i.decision or Decision.NEGATIVE], i.probability or 0.0))
    decision = worst.decision
    if decision is Decision.NEGATIVE and left_out:
        decision = Decision.INDETERMINATE
    return StudyFinding(
        study_instance_uid=study_instance_uid,
        status=Status.PARTIALLY_ANALYSED if left_out else Status.ANALYSED,
        probability=worst.probability,
        decision=decision,
    )


def describe_image(finding: ImageFinding, target: Target) -> str:
    """One line in words for one image, for overlays, tables, pages and reports."""
    if finding.reason is not None:
        verb = "Not analysed" if finding.status is Status.NOT_ANALYSED else "Analysis failed"
        return f"{verb}: {finding.reason.text}"
    answer = _ANSWER[finding.decision or Decision.INDETERMINATE].format(target.name)
    return f"{answer}, probability of {target.name} {finding.probability:.2f}"


def describe_body_part(part: BodyPart) -> str:
    """Body part and who says so, in words."""
    origin = "from the header" if part.source == "dicom" else "from the image"
    confidence = "" if part.confidence is None else f", confidence {part.confidence:.2f}"
    return f"{part.value.lower()} ({origin}{confidence})"


_ANSWER = {
    Decision.NEGATIVE: "No sign of {}",
    Decision.INDETERMINATE: "Indeterminate for {}",
    Decision.POSITIVE: "Suspected {}",
}


def describe_study(study: StudyFinding, images: Sequence[ImageFinding], target: Target) -> str:
    """The study's conclusion in words."""
    n_analysed = sum(image.decision is not None for image in images)
    scope = f"{n_analysed} of {len(images)} image{'s' if len(images) != 1 else ''} analysed"
    if study.decision is None:
        return f"No conclusion: {scope}."
    answer = _ANSWER[study.decision].format(target.name)
    return f"{answer} ({scope})."
