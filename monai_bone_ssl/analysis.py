"""One file to one answer: read, prepare, infer, decide; whatever goes wrong becomes a reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from monai_bone_ssl.body_parts import ANATOMY
from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.dicom.radiograph import Radiograph, read_header, read_radiograph
from monai_bone_ssl.errors import BoneSSLError, ModelError, UnsupportedImage
from monai_bone_ssl.files import printable
from monai_bone_ssl.findings import (
    Answered,
    AnsweredImage,
    BodyPart,
    CodedConcept,
    Refused,
    RefusedImage,
    unanalysed,
)
from monai_bone_ssl.model.answer import Answer
from monai_bone_ssl.model.eligibility import (
    Eligible,
    Ineligible,
    check_eligibility,
    require_covered,
    tagged_body_part,
)
from monai_bone_ssl.model.exposed_field import exposed_field
from monai_bone_ssl.model.inference import Model, Prediction
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.notes import Note

__all__ = [
    "AnalysedImage",
    "PreparedImage",
    "analyse_file",
    "analyse_prepared",
    "prepare_file",
    "refuse",
    "tagged_anatomy",
]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A radiograph that is ready for the network."""

    source: Source
    radiograph: Radiograph
    body_part: BodyPart | None
    """Body part that the header names; None where it names none."""
    batch: FloatArray
    """Network input [1, 1, H, W] in [0, 1]."""
    seconds: float
    """Time spent on the file so far, in seconds."""


@dataclass(frozen=True, eq=False)
class AnalysedImage:
    """An answered image with its pixels and what the network computed."""

    analysis: AnsweredImage
    pixels: FloatArray
    """Radiograph [H, W] in [0, 1], bright = dense."""
    evidence: FloatArray
    """Probability of each patch that it shows the target [h, w], 0 to 1."""
    contribution: FloatArray
    """Contribution of each patch to the logit [h, w]."""
    features: FloatArray
    """Features [D], what the probe is linear in."""

    @property
    def finding(self) -> Answered:
        """Finding of the image."""
        return self.analysis.finding


def analyse_file(source: Source, model: Model) -> AnalysedImage | RefusedImage:
    """Analyse one file.

    Parameters
    ----------
    source
        File to analyse; one that carries an error is not read.
    model
        Model to run.

    Returns
    -------
    The answer, or the reason why there is none.
    """
    return analyse_prepared(prepare_file(source, model.spec), model)


def prepare_file(source: Source, spec: ModelSpec) -> PreparedImage | RefusedImage:
    """Read one file and prepare it for the network: the half of :func:`analyse_file` without the model.

    Returns
    -------
    The network's input, or the reason why header or pixels say that the image is not one for this model.
    """
    started = perf_counter()
    try:
        if source.error is not None:
            raise source.error
        radiograph = read_radiograph(source.path)
    except BoneSSLError as error:
        return RefusedImage(refuse(source, error, perf_counter() - started), _header(source))
    part = tagged_body_part(radiograph.anatomy, spec)
    try:
        if part is not None:  # known without the network
            require_covered(part.value, spec)
        notes = list(radiograph.notes)
        field = exposed_field(radiograph.pixels, radiograph.declared_field, notes)
        radiograph = replace(radiograph, notes=tuple(notes))
        batch = preprocess(radiograph.pixels, spec.preprocessing, field)[None, None]
    except UnsupportedImage as error:
        return _refused(source, radiograph, error, part, perf_counter() - started)
    return PreparedImage(source, radiograph, part, batch, perf_counter() - started)


def analyse_prepared(image: PreparedImage | RefusedImage, model: Model) -> AnalysedImage | RefusedImage:
    """Show a prepared image to the network and decide: the other half of :func:`analyse_file`.

    Returns
    -------
    The answer, or the reason why there is none; an image that was refused before stays as it is.
    """
    if isinstance(image, RefusedImage):
        return image
    started = perf_counter() - image.seconds
    try:
        prediction = model.predict(image.batch)
    except ModelError as error:
        return _refused(image.source, image.radiograph, error, image.body_part, perf_counter() - started)
    eligibility = check_eligibility(
        image.body_part, float(prediction.distance[0]), prediction.body_part_logits[0], model.spec
    )
    if isinstance(eligibility, Ineligible):
        reason, part = eligibility.error, eligibility.body_part
        return _refused(image.source, image.radiograph, reason, part, perf_counter() - started)
    return _answered(image, prediction, eligibility, model.spec, started)


def _answered(
    image: PreparedImage, prediction: Prediction, eligible: Eligible, spec: ModelSpec, started: float
) -> AnalysedImage:
    radiograph, covered = image.radiograph, eligible.covered
    answer = Answer.of(
        float(prediction.logits[0]),
        prediction.patch_scores[0],
        radiograph.pixels.shape,
        covered.operating_points,
        spec,
    )
    finding = Answered(
        path=printable(image.source.path),
        sop_instance_uid=image.source.sop_instance_uid,
        study_instance_uid=image.source.study_instance_uid,
        body_part=eligible.body_part,
        probability=answer.probability,
        decision=answer.decision,
        peak=answer.peak_box.centre,
        regions=answer.regions,
        notes=radiograph.notes,
        seconds=perf_counter() - started,
    )
    # A header that is silent, or says no more than "extremity", is less than what the image shows.
    tagged = tagged_anatomy(radiograph.anatomy) if eligible.body_part.source == "dicom" else None
    analysis = AnsweredImage(
        finding,
        radiograph.header,
        tagged or covered.concept,
        radiograph.laterality,
        answer.points,
        answer.peak_box,
    )
    return AnalysedImage(
        analysis, radiograph.pixels, answer.evidence, prediction.contribution[0], prediction.features[0]
    )


def refuse(
    source: Source,
    error: BoneSSLError,
    seconds: float = 0.0,
    body_part: BodyPart | None = None,
    notes: tuple[Note, ...] = (),
) -> Refused:
    """Finding of a file that cannot be analysed.

    Parameters
    ----------
    source
        File that is refused.
    error
        Why it is refused.
    seconds
        Time spent on the file, in seconds.
    body_part
        Body part, as far as it is known.
    notes
        Faults of the file that were put right before the refusal.
    """
    status, reason = unanalysed(error)
    return Refused(
        path=printable(source.path),
        sop_instance_uid=source.sop_instance_uid,
        study_instance_uid=source.study_instance_uid,
        status=status,
        reason=reason,
        body_part=body_part,
        notes=notes,
        seconds=seconds,
    )


def _refused(
    source: Source, radiograph: Radiograph, error: BoneSSLError, part: BodyPart | None, seconds: float
) -> RefusedImage:
    """A radiograph that could be read, and is refused all the same."""
    finding = refuse(source, error, seconds, part, radiograph.notes)
    return RefusedImage(finding, radiograph.header, tagged_anatomy(radiograph.anatomy), radiograph.laterality)


def tagged_anatomy(term: str | None) -> CodedConcept | None:
    """Coded region of a Body Part Examined term; None where the term names no region."""
    code = ANATOMY.get(term or "")
    return None if code is None else CodedConcept(code.value, code.scheme_designator, code.meaning)


def _header(source: Source) -> Dataset | None:
    """Header of a file that was not analysed, so that a report can still refer to it."""
    if source.sop_instance_uid is None:
        return None
    try:
        return read_header(source.path)
    except BoneSSLError:  # gone or changed since it was gathered: it cannot be referred to
        return None
