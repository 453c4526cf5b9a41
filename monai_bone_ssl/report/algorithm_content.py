"""Content of the algorithm's report: one measurement group an image, and one a region.

How an answer is coded, so that no reader takes a negative image for a finding:

- The coded pair names the condition itself: "Fracture = Absent", "Fracture = Undetermined" (CID 240). It
  stays true when a viewer shows it apart from its group.
- (121071, DCM, "Finding") stands only in the groups of a positive image and of its certain regions. Viewers
  label a group with its Finding and do not read the evaluations beside it; "Finding: Fracture" above
  "absent" would be read as a fracture.
- The probability is INFERRED FROM a place (the supporting evidence, PS3.3 section C.17.3.2.4), in a group
  about the image (TID 1501): the whole image where it is negative or has regions, else the patch with the
  most evidence. Every image has such a patch, and a rectangle in a negative one would be read as a mark.
- A region is a group of its own (TID 1410), so that a viewer can take it over by its name.
- An image that was not analysed has no answer and no probability, but a status and the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from highdicom.sr import (
    AlgorithmIdentification,
    ContentSequence,
    CoordinatesForMeasurement,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from monai_bone_ssl.dicom.uids import derived_uid
from monai_bone_ssl.findings import (
    UNVERIFIED,
    AnsweredImage,
    Decision,
    ImageAnalysis,
    OperatingPoints,
    PixelBox,
    RefusedImage,
    Region,
    Status,
    StudyFinding,
    Target,
    describe_region,
    describe_study,
    image_lines,
)
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
from monai_bone_ssl.report.coordinates import image_region, measured_along, rectangle, whole_image
from monai_bone_ssl.wording import counted

__all__ = ["measurement_report", "tracking_uid"]


def tracking_uid(sop_instance_uid: str, algorithm: Algorithm, region: str = "") -> UID:
    """Tracking UID of an image's group in the report, or of the group of a region, by its name."""
    return derived_uid(
        "tracking", sop_instance_uid, algorithm.fingerprint, algorithm.software_version, region
    )


def measurement_report(
    images: Sequence[ImageAnalysis],
    referenced: Sequence[tuple[ImageAnalysis, Dataset]],
    study: StudyFinding,
    target: Target,
    algorithm: Algorithm,
    addition: str = "",
) -> MeasurementReport:
    """Content tree of a study's report.

    Parameters
    ----------
    images
        All images of the study, which the conclusion in words counts.
    referenced
        Images that can be referenced, in reading order, each with its header.
    study
        Conclusion of the study.
    target
        Condition that the model looks for.
    algorithm
        The model and the software around it.
    addition
        Sentence about an earlier report, with a space before it; empty where there is none.
    """
    numbered = [
        (image, header, f"Image {number} of {len(referenced)}")
        for number, (image, header) in enumerate(referenced, start=1)
    ]
    groups = [
        group
        for image, header, name in sorted(numbered, key=lambda item: _severity(item[0]), reverse=True)
        for group in _groups(image, header, name, target, algorithm)
    ]
    words = describe_study(study, [image.finding for image in images], target)
    evaluations = [evaluation(codes.DCM.SummaryOfAnalyses, _STATUS[study.status])]
    if study.decision is not None:
        evaluations.insert(0, evaluation(code(target.question), code(target.answer(study.decision))))
    return report_tree(
        ObservationContext(observer_device_context=device_observer(algorithm)),
        groups,
        [header for _, header in referenced],
        about_study(evaluations, f"{words}{addition} {UNVERIFIED}."),
    )


def _severity(image: ImageAnalysis) -> tuple[int, float]:
    """Rank of an image: by decision, then by probability; refused images come last."""
    if not isinstance(image, AnsweredImage):
        return -1, 0.0
    return image.finding.decision.severity, image.finding.probability


# CID 6042 "Status of Results".
_STATUS = {
    Status.ANALYSED: codes.DCM.Succeeded,
    Status.PARTIALLY_ANALYSED: codes.DCM.PartiallySucceeded,
    Status.NOT_ANALYSED: codes.DCM.NotAttempted,
    Status.FAILED: codes.DCM.Failed,
}


# --- one image ----------------------------------------------------------------------------------------


def _groups(
    image: ImageAnalysis, header: Dataset, name: str, target: Target, algorithm: Algorithm
) -> list[Group]:
    """Groups of an image: its own, then those of its regions, the certain ones first."""
    if isinstance(image, RefusedImage) or image.finding.decision is Decision.NEGATIVE:
        return [_image_group(image, header, name, [], target, algorithm)]
    regions = sorted(image.finding.regions, key=lambda region: region.certainty != "certain")
    return [
        _image_group(image, header, name, regions, target, algorithm),
        *(
            _region_group(region, number, image, name, target, algorithm)
            for number, region in enumerate(regions, start=1)
        ),
    ]


def _image_group(
    image: ImageAnalysis,
    header: Dataset,
    name: str,
    regions: Sequence[Region],
    target: Target,
    algorithm: Algorithm,
) -> MeasurementsAndQualitativeEvaluations:
    evaluations = [QualitativeEvaluation(codes.DCM.SummaryOfAnalyses, _STATUS[image.finding.status])]
    lines = [*image_lines(image.finding, target)]
    number, finding_type, points = frame_count(header), None, None
    if isinstance(image, AnsweredImage):
        decision, points = image.finding.decision, image.points
        place, meaning = _evidence(image, header, regions)
        number = _probability(image.finding.probability, measured_along(place, header))
        evaluations.insert(0, QualitativeEvaluation(code(target.question), code(target.answer(decision))))
        finding_type = code(target.finding) if decision is Decision.POSITIVE else None
        lines += [meaning, UNVERIFIED]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(tracking_uid(header.SOPInstanceUID, algorithm), name),
        finding_type=finding_type,
        finding_sites=finding_sites(image.anatomy, image.laterality),
        algorithm_id=_algorithm_identification(algorithm, points),
        measurements=[number],
        qualitative_evaluations=evaluations,
        source_images=[SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
    )
    if regions:
        # Beside groups of TID 1410, PixelMed's validator takes this one for such a group too, and looks for
        # the place that it is about: the whole image.
        group[0].ContentSequence.append(image_region(whole_image(header), header))
    group[0].ContentSequence.extend(comments(lines))
    return group


def _evidence(
    image: AnsweredImage, header: Dataset, regions: Sequence[Region]
) -> tuple[npt.NDArray[np.float64], str]:
    """Place that an image's probability is inferred from, and what it means in words."""
    if regions:
        certain = sum(region.certainty == "certain" for region in regions)
        return whole_image(header), f"{counted(certain, 'certain region')}, {len(regions) - certain} possible"
    if image.finding.decision is Decision.NEGATIVE:
        return whole_image(header), ""
    return rectangle(image.peak_box), "The rectangle marks the most evidence, not the finding"


def _region_group(
    region: Region, number: int, image: AnsweredImage, image_name: str, target: Target, algorithm: Algorithm
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """Measurement group of a region; without a finding site, which OHIF would draw as a bare code."""
    header = image.header
    name = f"{region.certainty} region {number}"
    bottom, right = region.row + region.height, region.column + region.width
    corners = rectangle(PixelBox(region.row, region.column, bottom, right))
    present = region.certainty == "certain" and image.finding.decision is Decision.POSITIVE
    answer = target.positive if present else target.indeterminate
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            tracking_uid(header.SOPInstanceUID, algorithm, name), f"{image_name}, {name}"
        ),
        referenced_region=image_region(corners, header),
        finding_type=code(target.finding) if present else None,
        algorithm_id=_algorithm_identification(algorithm, None),
        measurements=[_probability(region.probability)],
        qualitative_evaluations=[QualitativeEvaluation(code(target.question), code(answer))],
    )
    # Again below the number, where OHIF looks for the place of what it takes over; highdicom adds none there.
    [probability] = [item for item in group[0].ContentSequence if item.ValueType == "NUM"]
    probability.ContentSequence = ContentSequence([measured_along(corners, header)])
    group[0].ContentSequence.extend(comments([describe_region(region, target)]))
    return group


def _probability(value: float, *places: CoordinatesForMeasurement) -> Measurement:
    return Measurement(codes.DCM.Probability, value, codes.UCUM.NoUnits, referenced_coordinates=places)


def _algorithm_identification(
    algorithm: Algorithm, points: OperatingPoints | None
) -> AlgorithmIdentification:
    """Algorithm identification (TID 4019), with the operating points of the image's body part."""
    parameters = [
        f"Weights SHA-256 {algorithm.weights_sha256}",
        f"Software {algorithm.software_name} {algorithm.software_version}",
    ]
    if points is not None:
        parameters += [
            f"Negative below probability {points.high_sensitivity:.4g} (high-sensitivity operating point)",
            f"Positive from probability {points.high_specificity:.4g} (high-specificity operating point)",
        ]
    return AlgorithmIdentification(
        name=algorithm.model_name,
        version=algorithm.model_version,
        parameters=parameters,
        # CID 7162; 123109, one below, is "Manual Processing".
        family=codes.DCM.ArtificialIntelligence,
    )
