"""Messages between operators: one type for each port, checked where the message is received."""

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
    """Place of a file among the input: its group, and its number in the group."""

    group: int
    """Number of the group, from 0: a study, or one file that belongs to none."""
    study_instance_uid: str | None
    number: int
    """Number of the file in its group, from 1."""
    count: int
    """Files in the group."""
    unread_files: int
    """Number of files that cannot tell their study, and may belong to this one."""


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
    """Findings of a study, as in result.json."""

    images: Sequence[ImageFinding]
    study: StudyFinding | None


@dataclass(frozen=True)
class EndOfInput:
    """Last message, which every operator passes on."""

    n_files: int
    """Number of files in the input, each of which must have a result."""
