"""Content of a reader's report: the tree of :mod:`monai_bone_ssl.report.content`, with a person's answers.

As in the algorithm's report, the coded pair names the condition, and (121071, DCM, "Finding") stands only
where the condition is present. What differs:

- The observer is a person (TID 1003); the algorithm stands beside as a device where there was one.
- A place that the reader marked becomes a measurement group about that place (TID 1410).
- A ruler becomes a length, measured along its path.
- An image that nobody could read is coded as unusable; an image that was not read has no answer.
- The groups stand in the order abnormal, uncertain, not readable, normal, not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from highdicom.sr import (
    ContainerContentItem,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from monai_bone_ssl.dicom.uids import derived_uid
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import CodedConcept, Decision, PixelBox, Target
from monai_bone_ssl.report.content import (
    Algorithm,
    Group,
    about_study,
    code,
    comments,
    device_observer,
    evaluation,
    finding_sites,
    frame_count,
    report_tree,
)
from monai_bone_ssl.report.coordinates import image_region, measured_along, rectangle
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.verdict import Location, Reading, Verdict, describe_reading
from monai_bone_ssl.wording import counted

__all__ = ["ReviewedImage", "verified_content"]

_PIXELS = Code("{pixels}", "UCUM", "Pixels")


@dataclass(frozen=True)
class ReviewedImage:
    """One image of a study with the reader's verdict."""

    header: Dataset
    """Header of the image, without pixel data."""
    verdict: Verdict | None
    """Verdict of the reader; None where the image was not read."""
    anatomy: CodedConcept | None = None
    """Anatomic region; None where it is not known."""
    laterality: str | None = None
    """``R``, ``L`` or ``B`` (DICOM Image Laterality); None where the header does not say."""


def verified_content(
    images: Sequence[ReviewedImage], reader: Reader, target: Target, algorithm: Algorithm | None
) -> MeasurementReport:
    """Build the content tree of a reader's report.

    Parameters
    ----------
    images
        All images of the study that can be referenced, in reading order.
    reader
        The person who gave the verdicts.
    target
        Condition that the images were read for.
    algorithm
        The algorithm whose result the reader reviewed; None where there was none.

    Raises
    ------
    ReportError
        ``REPORT_FAILED`` where a marked place is outside its image.
    """
    numbered = [(image, f"Image {number} of {len(images)}") for number, image in enumerate(images, start=1)]
    groups = [
        group
        for image, name in sorted(numbered, key=lambda item: _ORDER.index(_reading(item[0])))
        for group in _groups(image, name, reader, target)
    ]
    person = PersonObserverIdentifyingAttributes(reader.person_name, organization_name=reader.organization)
    observers = ObservationContext(
        observer_person_context=ObserverContext(codes.DCM.Person, person),
        observer_device_context=None if algorithm is None else device_observer(algorithm),
    )
    conclusion = _conclusion([image.verdict for image in images], target)
    return report_tree(observers, groups, [image.header for image in images], conclusion)


_ORDER = (Reading.ABNORMAL, Reading.UNCERTAIN, Reading.BAD_IMAGE, Reading.NORMAL, None)

_ANSWERS = {
    Reading.NORMAL: Decision.NEGATIVE,
    Reading.UNCERTAIN: Decision.INDETERMINATE,
    Reading.ABNORMAL: Decision.POSITIVE,
}


def _conclusion(verdicts: Sequence[Verdict | None], target: Target) -> ContainerContentItem:
    readings = [verdict.reading for verdict in verdicts if verdict is not None]
    reading = _study_reading(readings, complete=len(readings) == len(verdicts))
    n_images = counted(len(verdicts), "image")
    words = f"{describe_reading(reading, target)} ({len(readings)} of {n_images} read)."
    answers = [] if reading not in _ANSWERS else [_answer(reading, target)]
    return about_study([evaluation(*answer) for answer in answers], words)


def _study_reading(readings: Sequence[Reading], complete: bool) -> Reading:
    """Reading of a whole study: normal only where every image of the study was read as normal."""
    if Reading.ABNORMAL in readings:
        return Reading.ABNORMAL
    if set(readings) == {Reading.BAD_IMAGE}:
        return Reading.BAD_IMAGE
    return Reading.NORMAL if complete and set(readings) == {Reading.NORMAL} else Reading.UNCERTAIN


def _answer(reading: Reading, target: Target) -> tuple[Code, Code]:
    return code(target.question), code(target.answer(_ANSWERS[reading]))


# --- one image ----------------------------------------------------------------------------------------


def _reading(image: ReviewedImage) -> Reading | None:
    return None if image.verdict is None else image.verdict.reading


def _groups(image: ReviewedImage, name: str, reader: Reader, target: Target) -> list[Group]:
    locations = () if image.verdict is None else image.verdict.locations
    regions = [
        _region_group(image, location, f"{name}, place {number}", reader, target)
        for number, location in enumerate(locations, start=1)
        if location.kind != "ruler"
    ]
    return [_image_group(image, name, reader, target), *regions]


def _image_group(
    image: ReviewedImage, name: str, reader: Reader, target: Target
) -> MeasurementsAndQualitativeEvaluations:
    header, verdict = image.header, image.verdict
    locations = () if verdict is None else verdict.locations
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(image, name, reader),
        finding_type=_finding_type(verdict, target),
        finding_sites=finding_sites(image.anatomy, image.laterality),
        measurements=[_length(ruler, header) for ruler in locations if ruler.kind == "ruler"]
        or [frame_count(header)],
        qualitative_evaluations=[QualitativeEvaluation(*_image_answer(verdict, target))],
        source_images=[SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
    )
    group[0].ContentSequence.extend(comments(_lines(verdict, target)))
    return group


def _region_group(
    image: ReviewedImage, location: Location, name: str, reader: Reader, target: Target
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(image, name, reader),
        referenced_region=image_region(_outline(location, image.header), image.header),
        finding_type=_finding_type(image.verdict, target),
    )
    group[0].ContentSequence.extend(comments([*_lines(image.verdict, target)[:1]]))
    return group


def _tracking(image: ReviewedImage, name: str, reader: Reader) -> TrackingIdentifier:
    read_at = "" if image.verdict is None else image.verdict.read_at
    uid = derived_uid("verified tracking", image.header.SOPInstanceUID, reader.name, read_at, name)
    return TrackingIdentifier(uid, name)


def _finding_type(verdict: Verdict | None, target: Target) -> Code | None:
    found = verdict is not None and verdict.reading is Reading.ABNORMAL
    return code(target.finding) if found else None


def _image_answer(verdict: Verdict | None, target: Target) -> tuple[Code, Code]:
    if verdict is None:
        return codes.DCM.SummaryOfAnalyses, codes.DCM.NotAttempted
    if verdict.reading is Reading.BAD_IMAGE:
        return codes.DCM.QualityAssessment, codes.DCM.UnusableQualityRendersImageUnusable
    return _answer(verdict.reading, target)


def _lines(verdict: Verdict | None, target: Target) -> tuple[str, ...]:
    """Verdict in short lines: the reading, how sure the reader is, and the reader's own words."""
    if verdict is None:
        return ("Not read",)
    sure = "" if verdict.confidence is None else f"confidence {verdict.confidence} of 5"
    return describe_reading(verdict.reading, target), sure, verdict.comment


def _length(ruler: Location, header: Dataset) -> Measurement:
    """Length in millimetres; in pixels where the image does not say how large its pixels are."""
    ends = np.asarray(ruler.points)
    in_pixels = float(np.linalg.norm(ends[0] - ends[1]))
    return Measurement(
        name=codes.SCT.Length,
        value=in_pixels if ruler.length_mm is None else ruler.length_mm,
        unit=_PIXELS if ruler.length_mm is None else codes.UCUM.Millimeter,
        referenced_coordinates=[measured_along(_outline(ruler, header), header, codes.DCM.Path)],
    )


def _outline(location: Location, header: Dataset) -> npt.NDArray[np.float64]:
    """Points [n, 2] of a SCOORD: (column, row) from the top left corner of the first pixel (PS3.3 C.18.6).

    A place that was drawn over the edge of the image ends at the edge.

    Raises
    ------
    ReportError
        ``REPORT_FAILED`` where the whole place is outside the image.
    """
    places = np.asarray(location.points)[:, ::-1] + 0.5
    size = np.array([header.Columns, header.Rows], dtype=np.float64)
    if (places.max(axis=0) < 0).any() or (places.min(axis=0) > size).any():
        text = f"image {header.SOPInstanceUID}: a marked {location.kind} is outside of it, expected it inside"
        raise ReportError(ReasonCode.REPORT_FAILED, text)
    inside = np.clip(places, 0, size)
    if location.kind != "box":
        return inside
    (left, top), (right, bottom) = inside.min(axis=0), inside.max(axis=0)
    return rectangle(PixelBox(top, left, bottom, right))
