"""One file to one finding: read, prepare, infer, decide; whatever goes wrong becomes a reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from monai_bone_ssl.body_parts import ANATOMY
from monai_bone_ssl.collect import Source
from monai_bone_ssl.eligibility import (
    check_distance,
    recognise_body_part,
    require_covered,
    tagged_body_part,
)
from monai_bone_ssl.errors import BoneSSLError
from monai_bone_ssl.findings import (
    BodyPart,
    CodedConcept,
    ImageAnalysis,
    ImageFinding,
    PixelBox,
    Status,
    decide,
    unanalysed,
)
from monai_bone_ssl.model import Model
from monai_bone_ssl.model_spec import BodyPartSpec
from monai_bone_ssl.preprocessing import preprocess
from monai_bone_ssl.radiograph import Radiograph, read_header, read_radiograph

__all__ = ["AnalysedImage", "analyse_file", "peak_box"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AnalysedImage:
    """An analysis and, for an image that was analysed, what its overlay is drawn from."""

    analysis: ImageAnalysis
    pixels: FloatArray | None = None
    """[H, W] in [0, 1], bright = dense."""
    evidence: FloatArray | None = None
    """[h, w], each patch's share of the logit."""


def analyse_file(source: Source, path_text: str, model: Model) -> AnalysedImage:
    """Analyse one file.

    Parameters
    ----------
    source
        The file; one that carries an error is not read.
    path_text
        How results name the file.
    model
        The model to run.

    Returns
    -------
    Always an analysis: an image that cannot be analysed carries its reason.
    """
    started = perf_counter()
    attempt = _Attempt(model)
    try:
        if source.error is not None:
            raise source.error
        attempt.run(source.path)
    except BoneSSLError as error:
        status, reason = unanalysed(error)
        finding = ImageFinding(
            path=path_text,
            sop_instance_uid=source.sop_instance_uid,
            study_instance_uid=source.study_instance_uid,
            status=status,
            reason=reason,
            body_part=attempt.body_part,
            seconds=perf_counter() - started,
        )
        return AnalysedImage(ImageAnalysis(finding, _header(source), attempt.anatomy, attempt.laterality))
    return attempt.finish(source, path_text, started)


class _Attempt:
    """What is known of an image, step by step, so that a refusal keeps what was learnt before it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.body_part: BodyPart | None = None
        self.anatomy: CodedConcept | None = None
        self.laterality: str | None = None

    def run(self, path: Path) -> None:
        spec = self.model.spec
        self.radiograph: Radiograph = read_radiograph(path)
        self.laterality = self.radiograph.laterality
        self.anatomy = _tagged_anatomy(self.radiograph.anatomy)
        tagged = tagged_body_part(self.radiograph.anatomy, spec)
        if tagged is not None:
            self.body_part = BodyPart(tagged, "dicom", None)
            require_covered(tagged, spec)
        image = preprocess(self.radiograph.pixels, spec.preprocessing)
        self.prediction = self.model.predict(image[None, None])
        check_distance(float(self.prediction.distance[0]), spec)
        self.body_part = recognise_body_part(tagged, self.prediction.body_part_logits[0], spec)
        self.part: BodyPartSpec = require_covered(self.body_part.value, spec)

    def finish(self, source: Source, path_text: str, started: float) -> AnalysedImage:
        points = self.part.operating_points
        if points is None:
            raise AssertionError("require_covered lets only parts with operating points pass")
        probability = self.model.probability(float(self.prediction.logits[0]))
        evidence = self.prediction.evidence[0]
        box = peak_box(evidence, self.radiograph.pixels.shape)
        finding = ImageFinding(
            path=path_text,
            sop_instance_uid=source.sop_instance_uid,
            study_instance_uid=source.study_instance_uid,
            status=Status.ANALYSED,
            body_part=self.body_part,
            probability=probability,
            decision=decide(probability, points),
            peak=box.centre,
            seconds=perf_counter() - started,
        )
        # A header that is silent, or says no more than "extremity", is less than what the image shows.
        tagged = self.body_part is not None and self.body_part.source == "dicom"
        anatomy = (self.anatomy if tagged else None) or self.part.concept
        analysis = ImageAnalysis(finding, self.radiograph.header, anatomy, self.laterality, points, box)
        return AnalysedImage(analysis, self.radiograph.pixels, evidence)


def _tagged_anatomy(term: str | None) -> CodedConcept | None:
    code = ANATOMY.get(term or "")
    return None if code is None else CodedConcept(code.value, code.scheme_designator, code.meaning)


def peak_box(evidence: FloatArray, shape: tuple[int, ...]) -> PixelBox:
    """The patch with the largest evidence, in source pixels."""
    row, column = np.unravel_index(int(evidence.argmax()), evidence.shape)
    tall, wide = shape[0] / evidence.shape[0], shape[1] / evidence.shape[1]
    return PixelBox(
        top=float(row * tall),
        left=float(column * wide),
        bottom=float((row + 1) * tall),
        right=float((column + 1) * wide),
    )


def _header(source: Source) -> Dataset | None:
    """Header of a file that was not analysed, so that a report can still refer to it."""
    if source.sop_instance_uid is None:
        return None
    try:
        return read_header(source.path)
    except BoneSSLError:  # gone or changed since it was gathered: it cannot be referred to
        return None
