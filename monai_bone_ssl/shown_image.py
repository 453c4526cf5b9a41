"""One file to its analysis and everything that is written of it: overlay, evidence map, DICOM evidence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path

import numpy as np

from monai_bone_ssl.analysis import AnalysedImage, analyse_file
from monai_bone_ssl.collect import Source
from monai_bone_ssl.evidence import EvidenceKind, ImageEvidence, draw_analysis, make_evidence
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.findings import ImageAnalysis
from monai_bone_ssl.model import Model
from monai_bone_ssl.overlay_file import write_png
from monai_bone_ssl.report import Algorithm

__all__ = ["Outputs", "ShownImage", "evidence_map_name", "printable", "show_image", "withdraw"]


@dataclass(frozen=True)
class Outputs:
    """What is written of each analysed image."""

    overlay: bool = True
    """A picture."""
    evidence_map: bool = False
    """Its evidence as numbers, see :func:`evidence_map_name`."""
    evidence: Collection[EvidenceKind] = ()
    """DICOM objects, made here and written beside the report."""


@dataclass(frozen=True)
class ShownImage:
    """What one file came to; it holds no pixels."""

    analysis: ImageAnalysis
    overlay: str | None
    """Name of the picture; None where there is none."""
    evidence_map: str | None
    """Name of the evidence as numbers; None where there is none."""
    evidence: ImageEvidence
    """Not written yet."""


def show_image(
    source: Source, number: int, out: Path, model: Model, algorithm: Algorithm, outputs: Outputs
) -> ShownImage:
    """Analyse one file and write what is drawn of it into an existing folder.

    Parameters
    ----------
    source
        The file.
    number
        Its place in its study, from 1.
    out
        Existing folder for the results.
    model
        The model to run.
    algorithm
        It, as DICOM objects name it.
    outputs
        What is wanted.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where ``out`` cannot be written.
    """
    image = analyse_file(source, printable(source.path), model)
    return ShownImage(
        image.analysis,
        _write_overlay(image, out, model) if outputs.overlay else None,
        _write_evidence_map(image, out, outputs.evidence_map),
        make_evidence(image, outputs.evidence, model.spec, algorithm, number, datetime.now()),
    )


def evidence_map_name(sop_instance_uid: str) -> str:
    """Name of the file with an image's evidence, beside result.json.

    float32 [h, w], each patch's share of the logit, as :func:`numpy.load` reads it.
    """
    return f"evidence_{sop_instance_uid}.npy"


def printable(path: Path) -> str:
    """A path as JSON can hold it: bytes that are no UTF-8 are replaced."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def withdraw(names: Sequence[str | None], out: Path) -> Sequence[None]:
    """Remove overlays and maps: they show an answer that is no longer given."""
    for name in names:
        if name is not None:
            (out / name).unlink(missing_ok=True)
    return [None] * len(names)


def _write_overlay(image: AnalysedImage, out: Path, model: Model) -> str | None:
    picture = draw_analysis(image, model.spec)
    if picture is None:
        return None
    name = f"overlay_{image.analysis.finding.sop_instance_uid}.png"
    write_png(picture, out / name)
    return name


def _write_evidence_map(image: AnalysedImage, out: Path, wanted: bool) -> str | None:
    """Write the map, or remove one that an earlier run left: it may be another model's."""
    uid = image.analysis.finding.sop_instance_uid
    if image.evidence is None or uid is None:
        return None
    if not wanted:
        (out / evidence_map_name(uid)).unlink(missing_ok=True)
        return None
    content = BytesIO()
    np.save(content, image.evidence, allow_pickle=False)
    write_atomically(out / evidence_map_name(uid), content.getvalue())
    return evidence_map_name(uid)
