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
    """Who made the findings, for TID 4019 and 1004 and for the equipment attributes.

    Parameters
    ----------
    model_name, model_version
        Of the model folder.
    weights_sha256
        Hash of the weights, in hexadecimal.
    fingerprint
        Changes whenever the model is trained or calibrated again; the Device UID is made from it.
    software_name, software_version
        Of the program around the model.
    manufacturer
        Who publishes both.

    Raises
    ------
    ReportError
        ``REPORT_FAILED`` where a value does not fit a DICOM long string.
    """

    model_name: str
    model_version: str
    weights_sha256: str
    fingerprint: str
    software_name: str
    software_version: str
    manufacturer: str = "monai_bone_ssl"

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
    """Tracking UID of the findings in one image."""
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
        All images of the study, for the conclusion in words.
    referenced
        Those that can be referenced, in reading order, each with its header.
    study
        The study's conclusion.
    target
        What the model looks for.
    algorithm
        Who made the findings.
    """
    groups = [
        _group(analysis, header, f"Image {number} of {len(referenced)}", target, algorithm)
        for number, (analysis, header) in enumerate(referenced, start=1)
    ]
    words = describe_study(study, [analysis.finding for analysis in images], target)
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
    """The whole tree from its parts.

    Parameters
    ----------
    observers
        Who made the findings.
    groups
        What is said about images and places in them.
    headers
        Of all images that the report is about, in reading order.
    conclusion
        What :func:`about_study` returned.
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
    analysis: ImageAnalysis, header: Dataset, name: str, target: Target, algorithm: Algorithm
) -> MeasurementsAndQualitativeEvaluations:
    """Everything about one image."""
    answer = analysis if isinstance(analysis, AnsweredImage) else None
    box = None if answer is None else _drawn_box(answer)
    positive = answer is not None and answer.finding.decision is Decision.POSITIVE
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(tracking_uid(header.SOPInstanceUID, algorithm), name),
        finding_type=code(target.finding) if positive else None,
        finding_sites=finding_sites(analysis.anatomy, analysis.laterality),
        algorithm_id=_algorithm_identification(algorithm, None if answer is None else answer.points),
        measurements=[] if answer is None else [_probability(answer.finding, box, target, header)],
        qualitative_evaluations=_evaluations(analysis, target),
        source_images=[SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
    )
    group[0].ContentSequence.append(text_item(codes.DCM.Comment, _comment(analysis, target, box)))
    return group


def _drawn_box(analysis: AnsweredImage) -> PixelBox | None:
    return None if analysis.finding.decision is Decision.NEGATIVE else analysis.peak_box


def _evaluations(analysis: ImageAnalysis, target: Target) -> list[QualitativeEvaluation]:
    evaluations = [QualitativeEvaluation(codes.DCM.SummaryOfAnalyses, _STATUS[analysis.finding.status])]
    if isinstance(analysis, AnsweredImage):
        answer = target.answer(analysis.finding.decision)
        evaluations.insert(0, QualitativeEvaluation(code(target.question), code(answer)))
    return evaluations


# CID 6042 "Status of Results".
_STATUS = {
    Status.ANALYSED: codes.DCM.Succeeded,
    Status.PARTIALLY_ANALYSED: codes.DCM.PartiallySucceeded,
    Status.NOT_ANALYSED: codes.DCM.NotAttempted,
    Status.FAILED: codes.DCM.Failed,
}


def _probability(finding: Answered, box: PixelBox | None, target: Target, header: Dataset) -> Measurement:
    """The probability. The name says of what: beside "Absent" it could be read as that of absence."""
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
    """Closed; SCOORD counts (column, row) from the image's top left corner, as PixelBox does."""
    corners = [
        (box.left, box.top),
        (box.right, box.top),
        (box.right, box.bottom),
        (box.left, box.bottom),
        (box.left, box.top),
    ]
    return CoordinatesForMeasurement(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=np.array(corners, dtype=np.float32),
        source_image=SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID),
        purpose=codes.DCM.SourceOfMeasurement,
    )


_LATERALITY = {"R": codes.SCT.Right, "L": codes.SCT.Left, "B": codes.SCT.Bilateral}


def finding_sites(anatomy: CodedConcept | None, laterality: str | None) -> list[FindingSite]:
    """The anatomic region of an image; none where it is not known.

    Parameters
    ----------
    anatomy
        Coded region.
    laterality
        ``R``, ``L`` or ``B``; None where it is not known.
    """
    if anatomy is None:
        return []
    side = None if laterality is None else _LATERALITY.get(laterality)
    return [FindingSite(code(anatomy), side)]


def _algorithm_identification(
    algorithm: Algorithm, points: OperatingPoints | None
) -> AlgorithmIdentification:
    """TID 4019. The operating points belong to the image: they differ between body parts."""
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


def _comment(analysis: ImageAnalysis, target: Target, box: PixelBox | None) -> str:
    words = describe_image(analysis.finding, target)
    if box is None:
        return words
    return f"{words}. The rectangle marks the patch with the most evidence; it does not locate the finding."


# --- about the whole study ----------------------------------------------------------------------------


def about_study(evaluations: Sequence[CodeContentItem], conclusion: str) -> ContainerContentItem:
    """Rows 12 to 14 of TID 1500: what is said about the study and not about one image of it."""
    container = ContainerContentItem(
        name=Code("C0034375", "UMLS", "Qualitative Evaluations"),
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    container.ContentSequence = ContentSequence([*evaluations, text_item(codes.DCM.Conclusion, conclusion)])
    return container


# --- content items ------------------------------------------------------------------------------------


def code(concept: CodedConcept) -> Code:
    """A concept as highdicom takes it."""
    return Code(concept.value, concept.scheme, concept.meaning)


def evaluation(name: Code, value: Code) -> CodeContentItem:
    """A coded answer to a coded question."""
    return CodeContentItem(name, value, RelationshipTypeValues.CONTAINS)


def text_item(
    name: Code, value: str, relationship: RelationshipTypeValues = RelationshipTypeValues.CONTAINS
) -> TextContentItem:
    """Words under a coded name."""
    return TextContentItem(name, value, relationship)
