"""What the operators' ports carry: one type a port, checked where it is received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from highdicom.sc import SCImage
from highdicom.seg import Segmentation

from monai_bone_ssl.analysis import AnalysedImage, PreparedImage
from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.findings import ImageAnalysis, ImageFinding, RefusedImage, StudyFinding
from monai_bone_ssl.pipeline import StudyConclusion

__all__ = [
    "AnalysedFile",
    "EndOfInput",
    "Evidence",
    "EvidenceFile",
    "Place",
    "PreparedFile",
    "StudyConcluded",
    "StudyFile",
    "StudyWritten",
]

Evidence = Sequence[SCImage | Segmentation]


@dataclass(frozen=True)
class Place:
    """Where a file stands: in which group of files, and as which of them."""

    group: int
    """Number of the group, from 0: a study, or one file that belongs to none."""
    study_instance_uid: str | None
    number: int
    """Number of the file in its group, from 1."""
    count: int
    """Files in the group."""


@dataclass(frozen=True)
class StudyFile:
    """An input file with its study."""

    place: Place
    source: Source


@dataclass(frozen=True)
class PreparedFile:
    """A file read and judged by its header and pixels."""

    place: Place
    image: PreparedImage | RefusedImage


@dataclass(frozen=True)
class AnalysedFile:
    """A file the model has answered, or the reason why it has not."""

    place: Place
    image: AnalysedImage | RefusedImage


@dataclass(frozen=True)
class EvidenceFile:
    """An answer without pixels, and the DICOM objects that show its evidence."""

    place: Place
    analysis: ImageAnalysis
    evidence: Evidence


@dataclass(frozen=True)
class StudyConcluded:
    """A study's conclusion and report, not written yet."""

    study_instance_uid: str | None
    conclusion: StudyConclusion
    evidence: Evidence


@dataclass(frozen=True)
class StudyWritten:
    """What result.json says of a study."""

    images: Sequence[ImageFinding]
    study: StudyFinding | None


@dataclass(frozen=True)
class EndOfInput:
    """Nothing follows; every operator passes it on."""

    n_files: int
    """How many files the input had: as many as there have to be results."""
