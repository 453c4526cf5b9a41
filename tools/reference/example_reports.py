"""Content trees of two reports that the package makes for three images, as tables."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from monai_bone_ssl.body_parts import ANATOMY
from monai_bone_ssl.errors import ReasonCode
from monai_bone_ssl.findings import (
    FRACTURE,
    Answered,
    AnsweredImage,
    BodyPart,
    CodedConcept,
    Decision,
    OperatingPoints,
    PixelBox,
    Reason,
    Refused,
    RefusedImage,
    Status,
    study_finding,
)
from monai_bone_ssl.report.algorithm_content import measurement_report
from monai_bone_ssl.report.content import Algorithm
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.verdict import Location, Reading, Verdict
from monai_bone_ssl.review.verified_content import ReviewedImage, verified_content
from monai_bone_ssl.show.results import SOFTWARE_NAME
from reference.markdown import table

__all__ = ["report_tree", "verified_tree"]

_ALGORITHM = Algorithm("MODEL", "1.0.0", "HASH", "FINGERPRINT", SOFTWARE_NAME, "VERSION")
_POINTS = OperatingPoints(high_sensitivity=0.1, high_specificity=0.5)
_WRIST = CodedConcept(*ANATOMY["WRIST"][:3])


def report_tree() -> str:
    """A positive image, a negative one, and one that was not analysed."""
    positive = _analysed(1, 0.83, Decision.POSITIVE)
    negative = _analysed(2, 0.02, Decision.NEGATIVE)
    reason = Reason(ReasonCode.BODY_PART_NOT_COVERED, "REASON")
    refused = Refused(path="3", status=Status.NOT_ANALYSED, reason=reason, seconds=0)
    analyses = [positive, negative, RefusedImage(refused, _header(3))]
    study = study_finding("1.2.3", [analysis.finding for analysis in analyses])
    referenced = [(a, a.header) for a in analyses if a.header is not None]
    return _tree(measurement_report(analyses, referenced, study, FRACTURE, _ALGORITHM)[0])


def verified_tree() -> str:
    """An image read as abnormal with a box and a ruler, one that nobody can read, and one not read."""
    box = Location("box", ((10.0, 10.0), (60.0, 40.0)))
    ruler = Location("ruler", ((10.0, 10.0), (60.0, 10.0)), length_mm=7.5)
    images = [
        ReviewedImage(_header(1), _verdict(Reading.ABNORMAL, (box, ruler)), _WRIST, "L"),
        ReviewedImage(_header(2), _verdict(Reading.BAD_IMAGE), _WRIST, "L"),
        ReviewedImage(_header(3), None),
    ]
    return _tree(verified_content(images, Reader("READER^", "ORGANIZATION"), FRACTURE, _ALGORITHM)[0])


def _analysed(number: int, probability: float, decision: Decision) -> AnsweredImage:
    box = PixelBox(14, 28, 28, 42)
    finding = Answered(
        path=str(number),
        body_part=BodyPart("hand", "dicom", 0.97),
        probability=probability,
        decision=decision,
        peak=box.centre,
        seconds=0,
    )
    return AnsweredImage(finding, _header(number), _WRIST, "L", _POINTS, box)


def _header(number: int) -> Dataset:
    header = Dataset()
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID = f"1.2.3.4.{number}"
    header.Modality, header.Rows, header.Columns = "DX", 2000, 1500
    return header


def _verdict(reading: Reading, locations: tuple[Location, ...] = ()) -> Verdict:
    return Verdict(
        key="",
        sop_instance_uid=None,
        study_instance_uid=None,
        reading=reading,
        agreement=None,
        decision=None,
        locations=locations,
        read_at="",
        seconds=0,
    )


def _tree(root: Dataset) -> str:
    return table(["relationship", "type", "concept name", "value"], _rows(root, ""))


def _rows(item: Dataset, depth: str) -> Iterator[tuple[str, str, str, str]]:
    """The item and all below it; a ``>`` a level, as PS3.16 has it."""
    names = item.get("ConceptNameCodeSequence")
    name = _code(names[0]) if names else ""
    yield f"{depth} {item.get('RelationshipType', '')}", item.ValueType, name, _value(item)
    for child in item.get("ContentSequence", []):
        yield from _rows(child, f"{depth}>")


def _value(item: Dataset) -> str:
    match item.ValueType:
        case "CODE":
            return _code(item.ConceptCodeSequence[0])
        case "TEXT":
            return str(item.TextValue)
        case "PNAME":
            return str(item.PersonName)
        case "NUM":
            measured = item.MeasuredValueSequence[0]
            return f"{measured.NumericValue:g} {_code(measured.MeasurementUnitsCodeSequence[0])}"
        case "SCOORD":
            return str(item.GraphicType)
        case "IMAGE":
            return "an image of the study"
        case "UIDREF":
            return "a UID"
        case _:
            return ""


def _code(item: Dataset) -> str:
    return f"({item.CodeValue}, {item.CodingSchemeDesignator}, {item.CodeMeaning})"
