"""Parts of a report's content tree, TID 1500 "Measurement Report" of DICOM PS3.16, by whomever it is.

https://dicom.nema.org/medical/dicom/current/output/chtml/part16/chapter_A.html#sect_TID_1500

The tree of the algorithm's report: :mod:`monai_bone_ssl.report.algorithm_content`; of a reader's:
:mod:`monai_bone_ssl.review.verified_content`. What both keep to, so that viewers open them:

- OHIF draws a measurement group, and tells its comments, only where the group has a place: a region (TID
  1410), or a number with the place that it is inferred from as its only child (TID 1501). One group without
  either, and it shows nothing of the whole report. An image without a number of its own therefore gets the
  number of its frames, inferred from the whole image.
- Viewers show the first group's image, and draw comments line by line without wrapping: the groups stand in
  the order of severity, and comments are short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from monai_bone_ssl.dicom.uids import derived_uid
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import CodedConcept
from monai_bone_ssl.report.coordinates import measured_along, whole_image
from monai_bone_ssl.report.image_library import image_library

__all__ = [
    "LAYOUT",
    "Algorithm",
    "Group",
    "about_study",
    "code",
    "comments",
    "device_observer",
    "evaluation",
    "finding_sites",
    "frame_count",
    "report_tree",
]

#: Version of the content tree, a part of a report's UIDs: an archive keeps the first of two objects with one
#: UID, so that a report of an earlier layout would stand in the way of one that viewers can open.
LAYOUT = "2"

Group = MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations

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


def report_tree(
    observers: ObservationContext,
    groups: Sequence[Group],
    headers: Sequence[Dataset],
    conclusion: ContainerContentItem,
) -> MeasurementReport:
    """Put a content tree together.

    Parameters
    ----------
    observers
        Device, and person where one took part, that made the findings.
    groups
        Measurement groups about images and about places in them, the most severe first.
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


# --- about the whole study ----------------------------------------------------------------------------


def about_study(evaluations: Sequence[CodeContentItem], conclusion: str) -> ContainerContentItem:
    """Container about the study as a whole: rows 12 to 14 of TID 1500."""
    container = ContainerContentItem(
        name=Code("C0034375", "UMLS", "Qualitative Evaluations"),
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    container.ContentSequence = ContentSequence([*evaluations, _text(codes.DCM.Conclusion, conclusion)])
    return container


# --- content items ------------------------------------------------------------------------------------


def code(concept: CodedConcept) -> Code:
    """Code of a concept, as highdicom takes codes."""
    return Code(concept.value, concept.scheme, concept.meaning)


def evaluation(name: Code, value: Code) -> CodeContentItem:
    """Content item with a coded answer to a coded question."""
    return CodeContentItem(name, value, RelationshipTypeValues.CONTAINS)


def comments(lines: Sequence[str]) -> list[TextContentItem]:
    """Comments of a measurement group, one for each line of words that has any."""
    return [_text(codes.DCM.Comment, line[:1].upper() + line[1:]) for line in lines if line]


def _text(name: Code, value: str) -> TextContentItem:
    return TextContentItem(name, value, RelationshipTypeValues.CONTAINS)


_FRAMES = Code("{frames}", "UCUM", "frames")


def frame_count(header: Dataset) -> Measurement:
    """Number of an image that has no other: of its frames, inferred from the whole image."""
    stated = str(header.get("NumberOfFrames", "")).strip()  # a damaged value stays the text that it is
    return Measurement(
        name=codes.DCM.NumberOfFrames,
        value=int(stated) if stated.isdecimal() else 1,
        unit=_FRAMES,
        referenced_coordinates=[measured_along(whole_image(header), header)],
    )
