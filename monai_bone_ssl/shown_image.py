"""One file to its analysis and everything that is made of it: overlay, patch maps, DICOM evidence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from io import BytesIO
from pathlib import Path

import numpy as np
from highdicom.sc import SCImage
from highdicom.seg import Segmentation
from PIL import Image

from monai_bone_ssl.analysis import AnalysedImage, analyse_file
from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.errors import ReportError
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.findings import Decision, ImageAnalysis, RefusedImage
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.report.content import Algorithm
from monai_bone_ssl.report.evidence_objects import (
    EvidenceKind,
    evidence_mask,
    secondary_capture,
    segmentation,
)
from monai_bone_ssl.show.overlay import draw_overlay
from monai_bone_ssl.show.overlay_file import write_png

__all__ = [
    "ImageEvidence",
    "Outputs",
    "PatchMap",
    "ShownImage",
    "draw_analysis",
    "make_evidence",
    "show_image",
    "withdraw",
]


@dataclass(frozen=True)
class ImageEvidence:
    """Evidence objects of one image."""

    objects: Sequence[SCImage | Segmentation] = ()
    left_out: Sequence[ReportError] = ()
    """Why objects that were asked for could not be made: mostly, the header does not allow them."""


@dataclass(frozen=True)
class Outputs:
    """Outputs to write of each answered image."""

    overlay: bool = True
    """Whether to write a picture."""
    patch_maps: bool = False
    """Whether to write the numbers of each patch, see :class:`PatchMap`."""
    evidence: Collection[EvidenceKind] = ()
    """Kinds of DICOM objects to make, which are written beside the report."""


@dataclass(frozen=True)
class ShownImage:
    """Analysis of one file and the names of its outputs; holds no pixels."""

    analysis: ImageAnalysis
    overlay: str | None = None
    """Name of the picture; None where there is none."""
    patch_maps: Sequence[str] = ()
    """Names of the files with the numbers of each patch."""
    evidence: ImageEvidence = ImageEvidence()
    """DICOM objects, not written yet."""


def show_image(
    source: Source, number: int, out: Path, model: Model, algorithm: Algorithm, outputs: Outputs
) -> ShownImage:
    """Analyse one file and write what is drawn of it into an existing folder.

    Parameters
    ----------
    source
        File to analyse.
    number
        Number of the file in its study, from 1.
    out
        Existing folder for the results.
    model
        Model to run.
    algorithm
        The model and the software around it, as DICOM objects name them.
    outputs
        Outputs to write of the image.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where ``out`` cannot be written.
    """
    image = analyse_file(source, model)
    if isinstance(image, RefusedImage):
        return ShownImage(image)
    return ShownImage(
        image.analysis,
        _write_overlay(image, out, model) if outputs.overlay else None,
        _write_patch_maps(image, out) if outputs.patch_maps else (),
        make_evidence(image, outputs.evidence, model.spec, algorithm, number, datetime.now()),
    )


def draw_analysis(image: AnalysedImage, spec: ModelSpec) -> Image.Image:
    """Overlay of an answered image."""
    return draw_overlay(image.pixels, image.evidence, image.finding, image.analysis.points, spec)


def make_evidence(
    image: AnalysedImage,
    kinds: Collection[EvidenceKind],
    spec: ModelSpec,
    algorithm: Algorithm,
    number: int,
    created: datetime,
) -> ImageEvidence:
    """Make the evidence objects of one answered image.

    Parameters
    ----------
    image
        Answered image with its pixels.
    kinds
        Kinds of objects to make; may be empty.
    spec
        Specification of the model that made the evidence.
    algorithm
        The model and the software around it, as DICOM objects name them.
    number
        Instance number in the objects' series, from 1.
    created
        Time when the objects are made.
    """
    header = image.analysis.header

    def capture() -> SCImage:
        return secondary_capture(draw_analysis(image, spec), header, algorithm, number, created)

    def segment() -> Segmentation | None:
        if image.finding.decision is Decision.NEGATIVE:  # a mark would contradict the answer
            return None
        mask = evidence_mask(image.evidence, spec.patch_probe.possible, image.pixels.shape)
        return segmentation(mask, header, spec.target.name, algorithm, number, created)

    makers: dict[EvidenceKind, Callable[[], SCImage | Segmentation | None]] = {
        EvidenceKind.SC: capture,
        EvidenceKind.SEG: segment,
    }
    objects, left_out = [], []
    for make in (makers[kind] for kind in EvidenceKind if kind in kinds):
        try:
            item = make()
        except ReportError as error:
            left_out.append(error)
        else:
            objects += [] if item is None else [item]
    return ImageEvidence(objects, left_out)


class PatchMap(StrEnum):
    """Numbers of each patch of an image, a file each beside result.json: float32 [h, w], :func:`numpy.load`.

    The patches cover the image from edge to edge.
    """

    EVIDENCE = "evidence"
    """Probability of each patch that it shows the target, 0 to 1."""
    CONTRIBUTION = "contribution"
    """Contribution of each patch to the logit."""

    def file_name(self, sop_instance_uid: str) -> str:
        """Name of an image's file."""
        return f"{self}_{sop_instance_uid}.npy"


def withdraw(names: Sequence[str | None], out: Path) -> Sequence[None]:
    """Remove overlays and maps, which show an answer that is no longer given; None for each."""
    for name in names:
        if name is not None:
            (out / name).unlink(missing_ok=True)
    return [None] * len(names)


def _write_overlay(image: AnalysedImage, out: Path, model: Model) -> str:
    name = f"overlay_{image.finding.sop_instance_uid}.png"
    write_png(draw_analysis(image, model.spec), out / name)
    return name


def _write_patch_maps(image: AnalysedImage, out: Path) -> list[str]:
    uid = image.finding.sop_instance_uid
    if uid is None:
        return []
    maps = {PatchMap.EVIDENCE: image.evidence, PatchMap.CONTRIBUTION: image.contribution}
    for kind, values in maps.items():
        content = BytesIO()
        np.save(content, values, allow_pickle=False)
        write_atomically(out / kind.file_name(uid), content.getvalue())
    return [kind.file_name(uid) for kind in maps]
