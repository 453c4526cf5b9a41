"""Probability and operating points to findings: the three decisions, the coded concepts and every wording.

Whatever a front shows or writes about an image or a study comes from here, so that the command line, the
report, the page and the viewer never say different things.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec
from pydicom import Dataset

from monai_bone_ssl.errors import BoneSSLError, ReasonCode, UnsupportedImage
from monai_bone_ssl.notes import Note
from monai_bone_ssl.wording import counted

__all__ = [
    "ABNORMALITY",
    "FRACTURE",
    "UNVERIFIED",
    "Answered",
    "AnsweredImage",
    "BodyPart",
    "CodedConcept",
    "Decision",
    "ImageAnalysis",
    "ImageFinding",
    "OperatingPoints",
    "Peak",
    "PixelBox",
    "Reason",
    "Refused",
    "RefusedImage",
    "Region",
    "Status",
    "StudyFinding",
    "Target",
    "decide",
    "describe_body_part",
    "describe_image",
    "describe_region",
    "describe_regions",
    "describe_study",
    "image_lines",
    "radiographs",
    "study_finding",
    "unanalysed",
]


#: Caution beside every result that a person sees.
UNVERIFIED = "Algorithm result, not verified by a reader"


class Status(StrEnum):
    """Whether an image, or a study, was analysed."""

    ANALYSED = "analysed"
    PARTIALLY_ANALYSED = "partially_analysed"  # studies only
    NOT_ANALYSED = "not_analysed"
    FAILED = "failed"


class Decision(StrEnum):
    """Three states from two operating points, the least severe first."""

    NEGATIVE = "negative"
    INDETERMINATE = "indeterminate"
    POSITIVE = "positive"

    @property
    def severity(self) -> int:
        """Place among the decisions: 0 for negative, 2 for positive."""
        return list(Decision).index(self)


class CodedConcept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code of a coding scheme, as DICOM PS3.3 section 8 writes it."""

    value: str
    """Code value."""
    scheme: str
    """Coding scheme designator, such as ``SCT``."""
    meaning: str
    """Code meaning, in words."""


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Condition that a model looks for, and the codes of its decisions."""

    name: str
    """Word for the condition, in texts."""
    finding: CodedConcept
    """Code of the condition, the value of (121071, DCM, "Finding")."""
    question: CodedConcept
    """Concept name of the qualitative evaluation that carries the answer."""
    negative: CodedConcept
    """Coded answer of a negative decision."""
    indeterminate: CodedConcept
    """Coded answer of an indeterminate decision."""
    positive: CodedConcept
    """Coded answer of a positive decision."""

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
    """Probability, 0 to 1, below which the decision is negative."""
    high_specificity: float
    """Probability, 0 to 1, from which on the decision is positive."""


class Reason(msgspec.Struct, frozen=True):
    """Why an image was not analysed."""

    code: ReasonCode
    text: str
    """One line in words, without patient data."""


class BodyPart(msgspec.Struct, frozen=True):
    """Body part of one image."""

    value: str
    """Name of one of the model's body parts, or the DICOM term of a part that the model does not know."""
    source: str
    """``dicom`` where the header names the part, ``image`` where the body-part probe tells it."""
    confidence: float | None
    """Probability of the part by the body-part probe, 0 to 1; None before the network has seen the image."""


class Peak(msgspec.Struct, frozen=True):
    """Pixel in the middle of the patch with the largest evidence; row and column count from 0."""

    row: int
    """Row of the pixel, from 0 at the top."""
    column: int
    """Column of the pixel, from 0 at the left."""


class Region(msgspec.Struct, frozen=True):
    """Rectangle of an image that shows signs of the target.

    Raises
    ------
    ValueError
        Where the rectangle is empty, or the probability is not a number from 0 to 1.
    """

    row: int
    """Row of the top left corner in source pixels, from 0 at the top."""
    column: int
    """Column of the top left corner in source pixels, from 0 at the left."""
    height: int
    """Height in source pixels."""
    width: int
    """Width in source pixels."""
    probability: float
    """Probability that the region shows the target, 0 to 1."""
    certainty: Literal["possible", "certain"]
    """Patch operating point of the model that the region reaches."""

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ValueError(f"region is {self.height} x {self.width} pixels, expected 1 x 1 or more")
        if not 0 <= self.probability <= 1:  # NaN fails too
            raise ValueError(f"probability of a region is {self.probability}, expected 0 to 1")


class _ImageFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Identity of an image, what was put right in it, and the time it took."""

    path: str
    """Path of the file, as it was given or found under a given folder."""
    sop_instance_uid: str | None = None
    """SOP Instance UID of the image; None where the file has none that can be read."""
    study_instance_uid: str | None = None
    """Study Instance UID of the image; None where the file has none that can be read."""
    notes: tuple[Note, ...] = ()
    """Faults of the file that were put right while it was read."""
    seconds: float
    """Time spent on the file, in seconds."""


class Answered(_ImageFinding, frozen=True, kw_only=True):
    """Finding of an image that the model answered.

    Raises
    ------
    ValueError
        Where the probability is not a number from 0 to 1.
    """

    body_part: BodyPart
    """Body part whose operating points decided."""
    probability: float
    """Calibrated probability of the target, 0 to 1."""
    decision: Decision
    """Decision at the body part's operating points."""
    peak: Peak
    """Place of the largest evidence, in source pixels."""
    regions: tuple[Region, ...] = ()
    """Regions that show signs of the target, the highest probability first; empty where there are none."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:  # NaN fails too
            raise ValueError(f"probability is {self.probability}, expected 0 to 1")

    @property
    def status(self) -> Status:
        """Always :attr:`Status.ANALYSED`."""
        return Status.ANALYSED


class Refused(_ImageFinding, frozen=True, kw_only=True):
    """Finding of an image without an answer.

    Raises
    ------
    ValueError
        Where the status is neither ``not_analysed`` nor ``failed``.
    """

    status: Status
    """``not_analysed`` for an image that the model was not made for, ``failed`` for one that went wrong."""
    reason: Reason
    """Why the image has no answer."""
    body_part: BodyPart | None = None
    """Body part, as far as it was known when the image was refused."""

    def __post_init__(self) -> None:
        if self.status not in (Status.NOT_ANALYSED, Status.FAILED):
            raise ValueError(f"status is {self.status}, expected not_analysed or failed without an answer")


#: What is said of one image.
ImageFinding: TypeAlias = Answered | Refused


class StudyFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``studies`` in result.json (contract C3)."""

    study_instance_uid: str
    """Study Instance UID."""
    status: Status
    probability: float | None = None
    """Probability of the most severe image, 0 to 1; None where no image was analysed."""
    decision: Decision | None = None
    """Decision of the most severe image; negative only where every radiograph of the study was analysed."""
    unread_files: int = 0
    """Number of files that could not be read far enough to tell their study, and may belong to this one."""
    sr_path: str | None = None
    """File name of the report, beside result.json; None where there is no report."""


@dataclass(frozen=True)
class PixelBox:
    """A rectangle in source pixels; edges lie in [0, rows] x [0, columns]."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def centre(self) -> Peak:
        """Pixel in the middle of the rectangle."""
        return Peak(int((self.top + self.bottom) / 2), int((self.left + self.right) / 2))


@dataclass(frozen=True)
class AnsweredImage:
    """An answered image with what a report needs beside the finding; holds no pixels."""

    finding: Answered
    header: Dataset
    """Header of the image, without pixel data."""
    anatomy: CodedConcept
    """Anatomic region, as finely as the header or the image tells it."""
    laterality: str | None
    """``R``, ``L`` or ``B`` (DICOM Image Laterality); None where the header does not say."""
    points: OperatingPoints
    """Operating points of the image's body part."""
    peak_box: PixelBox
    """Patch with the largest evidence, in source pixels."""


@dataclass(frozen=True)
class RefusedImage:
    """An image without an answer, with what is known of it."""

    finding: Refused
    header: Dataset | None
    """Header of the image, without pixel data; None where there is none that a report could refer to."""
    anatomy: CodedConcept | None = None
    """Anatomic region that the header names; None where it names none, or was not read so far."""
    laterality: str | None = None
    """``R``, ``L`` or ``B``; None where the header does not say, or was not read so far."""


#: One image as reports take it.
ImageAnalysis: TypeAlias = AnsweredImage | RefusedImage


def decide(probability: float, points: OperatingPoints) -> Decision:
    """Decide: negative < high_sensitivity <= indeterminate < high_specificity <= positive."""
    if probability >= points.high_specificity:
        return Decision.POSITIVE
    if probability >= points.high_sensitivity:
        return Decision.INDETERMINATE
    return Decision.NEGATIVE


def unanalysed(error: BoneSSLError) -> tuple[Status, Reason]:
    """Status and reason of an image whose analysis raised an error."""
    status = Status.NOT_ANALYSED if isinstance(error, UnsupportedImage) else Status.FAILED
    return status, Reason(code=error.code, text=error.text)


# Files that say nothing about the patient's bones: a study may be negative although they were not analysed.
_IRRELEVANT = frozenset(
    {ReasonCode.NOT_DICOM, ReasonCode.UNSUPPORTED_SOP_CLASS, ReasonCode.DUPLICATE_INSTANCE}
)


def radiographs(images: Sequence[ImageFinding]) -> list[ImageFinding]:
    """Findings of files that are, or may be, radiographs: without documents, other modalities and copies."""
    return [i for i in images if isinstance(i, Answered) or i.reason.code not in _IRRELEVANT]


def study_finding(
    study_instance_uid: str, images: Sequence[ImageFinding], unread_files: int = 0
) -> StudyFinding:
    """Conclude a study: the most severe image decides.

    A study is negative only if every radiograph in it was analysed and is negative. With one left out it is
    indeterminate, because nothing is known of that one.

    Parameters
    ----------
    study_instance_uid
        Study Instance UID.
    images
        Findings of all files of the study.
    unread_files
        Number of files that cannot tell their study, and may belong to this one.
    """
    answered = [image for image in images if isinstance(image, Answered)]
    left_out = unread_files > 0 or len(radiographs(images)) > len(answered)
    if not answered:
        failed = any(image.status is Status.FAILED for image in images)
        status = Status.FAILED if failed else Status.NOT_ANALYSED
        return StudyFinding(study_instance_uid=study_instance_uid, status=status, unread_files=unread_files)
    worst = max(answered, key=lambda image: (image.decision.severity, image.probability))
    decision = worst.decision
    if decision is Decision.NEGATIVE and left_out:
        decision = Decision.INDETERMINATE
    return StudyFinding(
        study_instance_uid=study_instance_uid,
        status=Status.PARTIALLY_ANALYSED if left_out else Status.ANALYSED,
        probability=worst.probability,
        decision=decision,
        unread_files=unread_files,
    )


def describe_image(finding: ImageFinding, target: Target) -> str:
    """Finding of an image in one line of words, for overlays, tables and pages."""
    answer, detail = image_lines(finding, target)
    return f"{answer}{': ' if isinstance(finding, Refused) else ', '}{detail}"


def image_lines(finding: ImageFinding, target: Target) -> tuple[str, str]:
    """Finding of an image in two short lines, for viewers that wrap no line: the answer and a detail."""
    if isinstance(finding, Refused):
        answer = "Not analysed" if finding.status is Status.NOT_ANALYSED else "Analysis failed"
        return answer, finding.reason.text
    answer = _ANSWER[finding.decision].format(target.name)
    return answer, f"probability of {target.name} {finding.probability:.2f}"


def describe_region(region: Region, target: Target) -> str:
    """Region of an image in words, such as "Certain region, probability of fracture 0.91"."""
    return f"{region.certainty.capitalize()} region, probability of {target.name} {region.probability:.2f}"


def describe_body_part(part: BodyPart) -> str:
    """Body part and its source in words."""
    origin = "from the header" if part.source == "dicom" else "from the image"
    confidence = "" if part.confidence is None else f", confidence {part.confidence:.2f}"
    return f"{part.value.lower()} ({origin}{confidence})"


def describe_regions(regions: Sequence[Region]) -> str:
    """Number of regions by certainty in words, such as ``1 certain, 2 possible``."""
    numbers = Counter(region.certainty for region in regions)
    return ", ".join(f"{numbers[word]} {word}" for word in ("certain", "possible") if numbers[word]) or "none"


_ANSWER = {
    Decision.NEGATIVE: "No sign of {}",
    Decision.INDETERMINATE: "Indeterminate for {}",
    Decision.POSITIVE: "Suspected {}",
}


def describe_study(study: StudyFinding, images: Sequence[ImageFinding], target: Target) -> str:
    """Conclusion of a study in words."""
    n_answered = sum(isinstance(image, Answered) for image in images)
    scope = f"{n_answered} of {counted(len(radiographs(images)), 'image')} analysed"
    if study.unread_files:
        scope += f"; {counted(study.unread_files, 'file')} that cannot be read may belong to the study"
    if study.decision is None:
        return f"No conclusion: {scope}."
    answer = _ANSWER[study.decision].format(target.name)
    return f"{answer} ({scope})."
