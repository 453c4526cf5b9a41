"""What shows the evidence of one analysed image: a picture, and DICOM objects of the kinds asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from highdicom.sc import SCImage
from highdicom.seg import Segmentation
from PIL import Image
from pydicom import Dataset

from monai_bone_ssl.analysis import AnalysedImage
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.evidence_objects import evidence_mask, secondary_capture, segmentation
from monai_bone_ssl.model_spec import ModelSpec
from monai_bone_ssl.overlay import draw_overlay
from monai_bone_ssl.patient import patient_key
from monai_bone_ssl.report_content import Algorithm

__all__ = ["EvidenceKind", "ImageEvidence", "check_same_patient", "draw_analysis", "make_evidence"]


class EvidenceKind(StrEnum):
    """As what the evidence may be shown."""

    SC = "sc"
    """Secondary Capture: the picture with the evidence map."""
    SEG = "seg"
    """Segmentation: the patches whose evidence reaches the model's limit."""


@dataclass(frozen=True)
class ImageEvidence:
    """The evidence objects of one image."""

    objects: list[SCImage | Segmentation] = field(default_factory=list)
    left_out: list[ReportError] = field(default_factory=list)
    """Why an object that was asked for could not be made: mostly the header does not allow it."""


def draw_analysis(image: AnalysedImage, spec: ModelSpec) -> Image.Image | None:
    """The picture of an image; None where it was not analysed."""
    points = image.analysis.points
    if image.pixels is None or image.evidence is None or points is None:
        return None
    return draw_overlay(
        image.pixels,
        image.evidence,
        image.analysis.finding,
        points,
        spec.target,
        limit=spec.evidence_limit,
        model_name=spec.name,
        model_version=spec.version,
    )


def make_evidence(
    image: AnalysedImage,
    kinds: Collection[EvidenceKind],
    spec: ModelSpec,
    algorithm: Algorithm,
    number: int,
    created: datetime,
) -> ImageEvidence:
    """Make the evidence objects of one image; none where it was not analysed.

    Parameters
    ----------
    image
        An analysis with its pixels.
    kinds
        What to make; may be empty.
    spec
        Of the model that made the evidence.
    algorithm
        The model and the software around it.
    number
        Instance number in the objects' series, from 1.
    created
        When they are made.
    """
    made = ImageEvidence()
    for kind in EvidenceKind:
        if kind not in kinds:
            continue
        try:
            item = _make(kind, image, spec, algorithm, number, created)
        except ReportError as error:
            made.left_out.append(error)
        else:
            made.objects.extend([] if item is None else [item])
    return made


def _make(
    kind: EvidenceKind,
    image: AnalysedImage,
    spec: ModelSpec,
    algorithm: Algorithm,
    number: int,
    created: datetime,
) -> SCImage | Segmentation | None:
    header = image.analysis.header
    if header is None:
        return None
    if kind is EvidenceKind.SC:
        picture = draw_analysis(image, spec)
        return None if picture is None else secondary_capture(picture, header, algorithm, number, created)
    if image.pixels is None or image.evidence is None:
        return None
    mask = evidence_mask(image.evidence, spec.evidence_limit, image.pixels.shape)
    return segmentation(mask, header, spec.target.name, algorithm, number, created)


def check_same_patient(report: Dataset, evidence: Sequence[Dataset]) -> None:
    """Refuse evidence that is not of the report's study and patient.

    Raises
    ------
    ReportError
        ``REPORT_FAILED``.
    """
    patient = patient_key(report)
    for made in evidence:
        if made.StudyInstanceUID != report.StudyInstanceUID or patient_key(made) != patient:
            text = f"study {report.StudyInstanceUID}: an evidence object of another study or patient"
            raise ReportError(ReasonCode.REPORT_FAILED, text)
