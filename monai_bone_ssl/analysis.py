"""One file to one finding: read, prepare, infer, decide; whatever goes wrong becomes a reason."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from monai_bone_ssl.body_parts import ANATOMY
from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.dicom.radiograph import Radiograph, read_header, read_radiograph
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
from monai_bone_ssl.model.eligibility import (
    Eligible,
    Ineligible,
    check_eligibility,
    require_covered,
    tagged_body_part,
)
from monai_bone_ssl.model.inference import Model, Prediction
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.model.spec import ModelSpec

__all__ = [
    "AnalysedImage",
    "PreparedImage",
    "analyse_file",
    "analyse_prepared",
    "examine",
    "peak_box",
    "prepare_file",
    "tagged_anatomy",
]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AnalysedImage:
    """An analysis and, for an image that was analysed, what its overlay is drawn from."""

    analysis: ImageAnalysis
    pixels: FloatArray | None = None
    """[H, W] in [0, 1], bright = dense."""
    evidence: FloatArray | None = None
    """[h, w], each patch's share of the logit."""


@dataclass(eq=False)
class PreparedImage:
    """A file that was read and, unless ``error`` says why not, is ready for the network.

    Filled step by step, so that a refusal keeps what was learnt before it.
    """

    source: Source
    path_text: str
    """How results name the file."""
    seconds: float = 0
    """Time spent on it so far."""
    error: BoneSSLError | None = None
    laterality: str | None = None
    anatomy: CodedConcept | None = None
    body_part: BodyPart | None = None
    """As far as it is known; before the network has looked, what the header says."""
    radiograph: Radiograph | None = None
    batch: FloatArray | None = None
    """[1, 1, H, W], the network's input; None where ``error`` is set."""


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
    return analyse_prepared(prepare_file(source, path_text, model.spec), model)


def prepare_file(source: Source, path_text: str, spec: ModelSpec) -> PreparedImage:
    """Read one file and prepare it for the network: the half of :func:`analyse_file` without the model.

    Returns
    -------
    Always an image: one whose header or pixels say that it is not for this model carries its ``error``.
    """
    started = perf_counter()
    image = PreparedImage(source, path_text)
    try:
        if source.error is not None:
            raise source.error
        _prepare(image, spec)
    except BoneSSLError as error:
        image.error = error
    image.seconds = perf_counter() - started
    return image


def analyse_prepared(image: PreparedImage, model: Model) -> AnalysedImage:
    """Show a prepared image to the network and decide: the other half of :func:`analyse_file`.

    Returns
    -------
    Always an analysis: an image that cannot be analysed carries its reason.
    """
    started = perf_counter() - image.seconds
    try:
        return _analyse(image, model, started)
    except BoneSSLError as error:
        status, reason = unanalysed(error)
    finding = ImageFinding(
        path=image.path_text,
        sop_instance_uid=image.source.sop_instance_uid,
        study_instance_uid=image.source.study_instance_uid,
        status=status,
        reason=reason,
        body_part=image.body_part,
        seconds=perf_counter() - started,
    )
    return AnalysedImage(ImageAnalysis(finding, _header(image.source), image.anatomy, image.laterality))


def examine(image: PreparedImage, model: Model) -> tuple[Prediction, Eligible]:
    """Show a prepared image to the network and judge whether it is one for the model.

    Raises
    ------
    BoneSSLError
        Why it is not analysed.
    """
    if image.error is not None:
        raise image.error
    if image.batch is None:
        raise AssertionError("an image without error was read and prepared")
    prediction = model.predict(image.batch)
    eligibility = check_eligibility(
        image.body_part, float(prediction.distance[0]), prediction.body_part_logits[0], model.spec
    )
    image.body_part = eligibility.body_part
    if isinstance(eligibility, Ineligible):
        raise eligibility.error
    return prediction, eligibility


def _prepare(image: PreparedImage, spec: ModelSpec) -> None:
    image.radiograph = read_radiograph(image.source.path)
    image.laterality = image.radiograph.laterality
    image.anatomy = tagged_anatomy(image.radiograph.anatomy)
    image.body_part = tagged_body_part(image.radiograph.anatomy, spec)
    if image.body_part is not None:  # no need to wait for the network
        require_covered(image.body_part.value, spec)
    image.batch = preprocess(image.radiograph.pixels, spec.preprocessing)[None, None]


def _analyse(image: PreparedImage, model: Model, started: float) -> AnalysedImage:
    prediction, eligibility = examine(image, model)
    if image.radiograph is None:
        raise AssertionError("an image without error was read")
    points = eligibility.covered.operating_points
    probability = model.probability(float(prediction.logits[0]))
    evidence = prediction.evidence[0]
    box = peak_box(evidence, image.radiograph.pixels.shape)
    finding = ImageFinding(
        path=image.path_text,
        sop_instance_uid=image.source.sop_instance_uid,
        study_instance_uid=image.source.study_instance_uid,
        status=Status.ANALYSED,
        body_part=eligibility.body_part,
        probability=probability,
        decision=decide(probability, points),
        peak=box.centre,
        seconds=perf_counter() - started,
    )
    # A header that is silent, or says no more than "extremity", is less than what the image shows.
    anatomy = (
        image.anatomy if eligibility.body_part.source == "dicom" else None
    ) or eligibility.covered.concept
    analysis = ImageAnalysis(finding, image.radiograph.header, anatomy, image.laterality, points, box)
    return AnalysedImage(analysis, image.radiograph.pixels, evidence)


def tagged_anatomy(term: str | None) -> CodedConcept | None:
    """The coded region that a header's term names; None where it names none."""
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
