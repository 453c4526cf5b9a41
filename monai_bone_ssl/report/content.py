"""Content tree of a study's report: TID 1500 "Measurement Report" of DICOM PS3.16.

https://dicom.nema.org/medical/dicom/current/output/chtml/part16/chapter_A.html#sect_TID_1500

How an answer is coded, so that no reader takes a negative image for a finding:

- The coded pair names the condition itself: "Fracture = Absent", "Fracture = Undetermined" (CID 240). It
  stays true when a viewer shows it apart from its group.
- (121071, DCM, "Finding") stands only in the group of a positive image. Viewers label a group with its
  Finding and do not read the evaluations beside it; "Finding: Fracture" above "absent" would be read as
  a fracture.
- The patch of the peak is drawn only where the image is positive or indeterminate. Every image has a patch
  with the largest evidence, and a rectangle in a negative one would be read as a mark.
- The patch is what the probability is INFERRED FROM (the supporting evidence, PS3.3 section C.17.3.2.4), in a
  group about the image (TID 1501). A group about a region (TID 1410) would claim that the number was
  measured in the rectangle, or that the rectangle is the finding.
- An image that was not analysed has no answer and no probability, but a status and the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from monai_bone_ssl.dicom.uids import derived_uid
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import (
    UNVERIFIED,
    Answered,
    AnsweredImage,
    CodedConcept,
    Decision,
    ImageAnalysis,
    OperatingPoints,
    PixelBox,
    Status,
    StudyFinding,
    Target,
    describe_image,
    describe_study,
)
from monai_bone_ssl.report.image_library import image_library

__all__ = [
    "Algorithm",
    "about_study",
    "code",
    "device_observer",
    "evaluation",
    "finding_sites",
    "measurement_report",
    "report_tree",
    "text_item",
    "tracking_uid",
]

_LONG_STRING = 64  # characters in a value of VR LO


@dataclass(frozen=True)
class Algorithm:
    """The model and the software around it, as DICOM objects name them (TID 4019, TID 1004, equipment).

    Raises
    ------
    ReportError
        ``REPORT_FAILED`` where a value does not fit a DICOM long string.
    """

    model_name: str
    model_version: str
    weights_sha256: str
    """Hash of the weights, in hexadecimal."""
    fingerprint: str
    """Hash that changes whenever the model is trained or calibrated again; the Device UID is made from it."""
    software_name: str
    software_version: str
    manufacturer: str = "monai_bone_ssl"
    """Publisher of model and software."""

    def __post_init__(self) -> None:
        for value in (self.model_name, self.model_version, self.software_version, self.manufacturer):
            if not 0 < len(value) <= _LONG_STRING or "\\" in value:
                raise ReportError(
                    ReasonCode.REPORT_FAILED,
                    f"{value!r}: expected 1 to {_LONG_STRING} characters without a backslash",
                )

    @property
    def device_uid(self) -> UID:
        """Device UID (0018,1002): another one for every retraining, as IHE AI Results asks."""
        return derived_uid("device", self.fingerprint)


def tracking_uid(sop_instance_uid: str, algorithm: Algorithm) -> UID:
    """Tracking UID of an image's group in the report."""
    return derived_uid("tracking", sop_instance_uid, algorithm.fingerprint, algorithm.software_version)


def measurement_report(
    images: Sequence[ImageAnalysis],
    referenced: Sequence[tuple[ImageAnalysis, Dataset]],
    study: StudyFinding,
    target: Target,
    algorithm: Algorithm,
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
    """
    groups = [
        _group(image, header, f"Image {number} of {len(referenced)}", target, algorithm)
        for number, (image, header) in enumerate(referenced, start=1)
    ]
    words = describe_study(study, [image.finding for image in images], target)
    evaluations = [evaluation(codes.DCM.SummaryOfAnalyses, _STATUS[study.status])]
    if study.decision is not None:
        evaluations.insert(0, evaluation(code(target.question), code(target.answer(study.decision))))
    return report_tree(
        ObservationContext(observer_device_context=device_observer(algorithm)),
        groups,
        [header for _, header in referenced],
        about_study(evaluations, f"{words} {UNVERIFIED}."),
    )


def report_tree(
    observers: ObservationContext,
    groups: Sequence[MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations],
    headers: Sequence[Dataset],
    conclusion: ContainerContentItem,
) -> MeasurementReport:
    """Put a content tree together.

    Parameters
    ----------
    observers
        Device, and person where one took part, that made the findings.
    groups
        Measurement groups about images and about places in them.
    headers
        Headers of all images that the report is about, in reading order.
    conclusion
        Container about the study, from :func:`about_study`.
    """
    report = MeasurementReport(
        observation_context=observers,
        # The procedure reported is the imaging, not the analysis (IHE AI Results); coded from CID 100.
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=groups,
    )
    children = report[0].ContentSequence
    children.insert(-1, image_library(headers))
    children.append(conclusion)
    return report


def device_observer(algorithm: Algorithm) -> ObserverContext:
    """The algorithm as an observer (TID 1004)."""
    device = DeviceObserverIdentifyingAttributes(
        uid=algorithm.device_uid,
        name=algorithm.software_name,
        manufacturer_name=algorithm.manufacturer,
        model_name=f"{algorithm.model_name} {algorithm.model_version}",
    )
    return ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)


# --- one group an image -------------------------------------------------------------------------------


def _group(
    image: ImageAnalysis, header: Dataset, name: str, target: Target, algorithm: Algorithm
) -> MeasurementsAndQualitativeEvaluations:
    """Measurement group of one image."""
    comment = describe_image(image.finding, target)
    evaluations = [QualitativeEvaluation(codes.DCM.SummaryOfAnalyses, _STATUS[image.finding.status])]
    finding_type, points, measurements = None, None, []
    if isinstance(image, AnsweredImage):
        decision, points = image.finding.decision, image.points
        box = None if decision is Decision.NEGATIVE else image.peak_box
        comment += "" if box is None else _CAUTION
        answer = QualitativeEvaluation(code(target.question), code(target.answer(decision)))
        evaluations.insert(0, answer)
        measurements = [_probability(image.finding, box, target, header)]
        finding_type = code(target.finding) if decision is Decision.POSITIVE else None
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(tracking_uid(header.SOPInstanceUID, algorithm), name),
        finding_type=finding_type,
        finding_sites=finding_sites(image.anatomy, image.laterality),
        algorithm_id=_algorithm_identification(algorithm, points),
        measurements=measurements,
        qualitative_evaluations=evaluations,
        source_images=[SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
    )
    group[0].ContentSequence.append(text_item(codes.DCM.Comment, comment))
    return group


_CAUTION = ". The rectangle marks the patch with the most evidence; it does not locate the finding."


# CID 6042 "Status of Results".
_STATUS = {
    Status.ANALYSED: codes.DCM.Succeeded,
    Status.PARTIALLY_ANALYSED: codes.DCM.PartiallySucceeded,
    Status.NOT_ANALYSED: codes.DCM.NotAttempted,
    Status.FAILED: codes.DCM.Failed,
}


def _probability(finding: Answered, box: PixelBox | None, target: Target, header: Dataset) -> Measurement:
    """The probability under a name of the target: beside "Absent" it could be read as that of absence."""
    measurement = Measurement(
        name=codes.DCM.Probability,
        value=finding.probability,
        unit=codes.UCUM.NoUnits,
        referenced_coordinates=[] if box is None else [_rectangle(box, header)],
    )
    number = measurement[0]
    meaning = text_item(
        codes.DCM.EquivalentMeaningOfConceptName,
        f"Probability of {target.name}",
        RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    number.ContentSequence = ContentSequence([meaning, *number.get("ContentSequence", [])])
    return measurement


def _rectangle(box: PixelBox, header: Dataset) -> CoordinatesForMeasurement:
    """A closed polyline; SCOORD counts (column, row) from the image's top left corner, as PixelBox does."""
    left, top, right, bottom = box.left, box.top, box.right, box.bottom
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return CoordinatesForMeasurement(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=np.array(corners, dtype=np.float32),
        source_image=SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID),
        purpose=codes.DCM.SourceOfMeasurement,
    )


_LATERALITY = {"R": codes.SCT.Right, "L": codes.SCT.Left, "B": codes.SCT.Bilateral}


def finding_sites(anatomy: CodedConcept | None, laterality: str | None) -> list[FindingSite]:
    """Anatomic region of an image as content items; an empty list where the region is not known.

    Parameters
    ----------
    anatomy
        Coded region; None where not known.
    laterality
        ``R``, ``L`` or ``B``; None where not known.
    """
    if anatomy is None:
        return []
    side = None if laterality is None else _LATERALITY.get(laterality)
    return [FindingSite(code(anatomy), side)]


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


# --- about the whole study ----------------------------------------------------------------------------


def about_study(evaluations: Sequence[CodeContentItem], conclusion: str) -> ContainerContentItem:
    """Container about the study as a whole: rows 12 to 14 of TID 1500."""
    container = ContainerContentItem(
        name=Code("C0034375", "UMLS", "Qualitative Evaluations"),
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    container.ContentSequence = ContentSequence([*evaluations, text_item(codes.DCM.Conclusion, conclusion)])
    return container


# --- content items ------------------------------------------------------------------------------------


def code(concept: CodedConcept) -> Code:
    """Code of a concept, as highdicom takes codes."""
    return Code(concept.value, concept.scheme, concept.meaning)


def evaluation(name: Code, value: Code) -> CodeContentItem:
    """Content item with a coded answer to a coded question."""
    return CodeContentItem(name, value, RelationshipTypeValues.CONTAINS)


def text_item(
    name: Code, value: str, relationship: RelationshipTypeValues = RelationshipTypeValues.CONTAINS
) -> TextContentItem:
    """Content item with words under a coded name."""
    return TextContentItem(name, value, relationship)
