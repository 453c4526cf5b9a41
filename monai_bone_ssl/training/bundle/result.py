"""Results of bundle inference: one an image, and all of them in predictions.json and predictions.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from monai_bone_ssl import __version__
from monai_bone_ssl.errors import BoneSSLError
from monai_bone_ssl.files import csv_bytes, write_atomically
from monai_bone_ssl.findings import BodyPart, Decision, Peak, Reason, Region, Status, unanalysed
from monai_bone_ssl.model.answer import Answer
from monai_bone_ssl.model.spec import ModelSpec

__all__ = ["ImageResult", "write_results"]

_COLUMNS = ("path", "status", "reason", "body_part", "logit", "probability", "decision")


class ImageResult(msgspec.Struct, frozen=True, kw_only=True):
    """One image in predictions.json; the terms are those of result.json."""

    path: str
    status: Status
    reason: Reason | None = None
    """Why the image is not analysed; None where it is."""
    body_part: BodyPart | None = None
    logit: float | None = None
    """Logit before calibration; None, as all that follows, where the image is not analysed."""
    probability: float | None = None
    decision: Decision | None = None
    peak: Peak | None = None
    """Centre of the patch with the largest evidence, in source pixels."""
    regions: tuple[Region, ...] = ()
    """Regions that show signs of the target, in source pixels, the highest probability first."""

    @classmethod
    def answered(cls, path: str, body_part: BodyPart, answer: Answer) -> Self:
        """Entry of an image with an answer."""
        return cls(
            path=path,
            status=Status.ANALYSED,
            body_part=body_part,
            logit=answer.logit,
            probability=answer.probability,
            decision=answer.decision,
            peak=answer.peak_box.centre,
            regions=answer.regions,
        )

    @classmethod
    def refused(cls, path: str, error: BoneSSLError, body_part: BodyPart | None = None) -> Self:
        """Entry of an image without an answer, with the body part as far as it is known."""
        status, reason = unanalysed(error)
        return cls(path=path, status=status, reason=reason, body_part=body_part)


def write_results(results: Sequence[ImageResult], spec: ModelSpec, out: Path) -> None:
    """Write ``predictions.csv`` and ``predictions.json``, sorted by path, each whole or not at all.

    Raises
    ------
    ReportError
        If the folder cannot be written.
    """
    images = sorted(results, key=lambda result: result.path)
    content = {
        "model": {"name": spec.name, "version": spec.version, "sha256": spec.weights_sha256},
        "software": {"name": "monai_bone_ssl", "version": __version__},
        "images": images,
    }
    write_atomically(out / "predictions.csv", csv_bytes(_COLUMNS, map(_line, images)))
    write_atomically(
        out / "predictions.json", msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
    )


def _line(image: ImageResult) -> tuple[object, ...]:
    reason = "" if image.reason is None else image.reason.code
    part = "" if image.body_part is None else image.body_part.value
    return image.path, image.status, reason, part, image.logit, image.probability, image.decision
