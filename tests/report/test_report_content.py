"""What a reader of a report finds in it: answers, numbers, regions, status and who says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR, GraphicTypeValues, srread
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ComputedRadiographyImageStorage
from reports import (
    ALGORITHM,
    BOX,
    CREATED,
    FAILURE,
    STUDY,
    analysed,
    items,
    make_header,
    meaning,
    not_analysed,
    read_back,
    report_of,
)

from monai_bone_ssl.findings import FRACTURE, UNVERIFIED, describe_study, study_finding
from monai_bone_ssl.report.content import tracking_uid
from monai_bone_ssl.report.study import write_report

FRACTURE_CODE = Code("125605004", "SCT", "Fracture")


def test_positive_image_round_trip(tmp_path: Path) -> None:
    header = make_header()
    report = srread(write_report(report_of(analysed(header, 0.9312345678901234)), tmp_path))
    [group] = report.content.get_image_measurement_groups(
        tracking_uid=tracking_uid(header.SOPInstanceUID, ALGORITHM), finding_type=FRACTURE_CODE
    )
    [probability] = group.get_measurements(codes.DCM.Probability)
    assert probability.value == 0.9312345678901234
    assert probability.unit == codes.UCUM.NoUnits
    [evaluation] = group.get_qualitative_evaluations(FRACTURE_CODE)
    assert evaluation.value == codes.cid240.Present
    [site] = group.finding_sites
    assert (site.value, site.laterality) == (codes.cid4031.WristJoint, codes.cid244.Left)
    # Column, row, from the top left corner of the image, closed.
    corners = [(32, 16), (46.25, 16), (46.25, 30.5), (32, 30.5), (32, 16)]
    [region] = probability.referenced_coordinates
    assert region.graphic_type is GraphicTypeValues.POLYLINE
    np.testing.assert_array_equal(region.value, corners)
    [marked] = region.ContentSequence[0].ReferencedSOPSequence
    assert marked.ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert group.source_images[0].referenced_sop_instance_uid == header.SOPInstanceUID
    assert report.get_evidence() == [
        (STUDY, header.SeriesInstanceUID, header.SOPInstanceUID, ComputedRadiographyImageStorage)
    ]


def test_negative_image_cannot_be_taken_for_a_finding(tmp_path: Path) -> None:
    header = make_header()
    report = srread(write_report(report_of(analysed(header, 0.03)), tmp_path))
    said = list(items(report))
    assert "Finding" not in [meaning(item) for item in said]
    assert "SCOORD" not in [item.ValueType for item in said]
    [group] = report.content.get_image_measurement_groups(
        tracking_uid=tracking_uid(header.SOPInstanceUID, ALGORITHM)
    )
    assert group.get_qualitative_evaluations(FRACTURE_CODE)[0].value == codes.cid240.Absent
    assert group.source_images[0].referenced_sop_instance_uid == header.SOPInstanceUID
    # The number says of what it is the probability, so that 0.03 beside "Absent" is not that of absence.
    [number] = [item for item in said if meaning(item) == "Probability"]
    assert number.ContentSequence[0].TextValue == "Probability of fracture"


def test_indeterminate_image_has_a_region_but_no_finding() -> None:
    report = read_back(report_of(analysed(make_header(), 0.4)))
    [group] = report.content.get_image_measurement_groups()
    assert group.finding_type is None
    assert len(group.get_measurements()[0].referenced_coordinates) == 1
    assert group.get_qualitative_evaluations(FRACTURE_CODE)[0].value == codes.cid240.Undetermined


def test_study_conclusion_stands_apart_from_the_images() -> None:
    images = analysed(make_header(1), 0.05), analysed(make_header(2), 0.93)
    report = report_of(*images)
    [study] = [item for item in report.ContentSequence if meaning(item) == "Qualitative Evaluations"]
    name = study.ConceptNameCodeSequence[0]
    assert (name.CodeValue, name.CodingSchemeDesignator) == ("C0034375", "UMLS")  # TID 1500, row 12
    said = {meaning(item): item for item in study.ContentSequence}
    assert said["Fracture"].ConceptCodeSequence[0].CodeMeaning == "Present"
    assert said["Summary of Analyses"].ConceptCodeSequence[0].CodeMeaning == "Succeeded"
    findings = [image.finding for image in images]
    words = describe_study(study_finding(STUDY, findings), findings, FRACTURE)
    assert said["Conclusion"].TextValue == f"{words} {UNVERIFIED}."


def test_every_image_has_a_status_and_a_reason() -> None:
    headers = [make_header(number) for number in (1, 2, 3)]
    report = read_back(
        report_of(analysed(headers[0], 0.05), not_analysed(headers[1]), not_analysed(headers[2], FAILURE))
    )
    said = {}
    for group in report.content.get_image_measurement_groups():
        [status] = group.get_qualitative_evaluations(codes.DCM.SummaryOfAnalyses)
        [comment] = [item.TextValue for item in group[0].ContentSequence if meaning(item) == "Comment"]
        said[group.source_images[0].referenced_sop_instance_uid] = (status.value.value, comment)
    assert said == {
        headers[0].SOPInstanceUID: ("111222", "No sign of fracture, probability of fracture 0.05"),
        headers[1].SOPInstanceUID: ("111225", "Not analysed: a.dcm: body part CHEST, expected HAND"),
        headers[2].SOPInstanceUID: (
            "111224",
            "Analysis failed: b.dcm: JPEG data end early, expected 80 x 64 pixels",
        ),
    }
    assert report.CompletionFlag == "PARTIAL"


def test_nothing_analysed_means_no_answer_and_no_number() -> None:
    report = report_of(not_analysed(make_header(1)), not_analysed(make_header(2), FAILURE))
    names = [meaning(item) for item in items(report)]
    assert not {"Probability", "Fracture", "Finding"} & set(names)
    assert names.count("Comment") == 2


def outline(report: Comprehensive3DSR) -> list[tuple[str, ...]]:
    """Relationship, value type, name and value of every content item, in the order of the document."""
    return [(item.RelationshipType, item.ValueType, meaning(item), value(item)) for item in items(report)]


def value(item: Dataset) -> str:
    """Value of a code, number, text or UID in words; empty for other kinds."""
    if "ConceptCodeSequence" in item:
        return str(item.ConceptCodeSequence[0].CodeMeaning)
    if "MeasuredValueSequence" in item:
        return f"{item.MeasuredValueSequence[0].NumericValue:g}"
    return str(item.get("TextValue") or item.get("UID") or "")


def test_rows_follow_the_templates() -> None:
    """Every row of a positive image's report: its place, relationship and type as PS3.16 has them."""
    header = make_header()
    assert outline(report_of(analysed(header, 0.93))) == [
        ("HAS CONCEPT MOD", "CODE", "Language of Content Item and Descendants", "English (United States)"),
        # TID 1002 and 1004: who observed
        ("HAS OBS CONTEXT", "CODE", "Observer Type", "Device"),
        ("HAS OBS CONTEXT", "UIDREF", "Device Observer UID", ALGORITHM.device_uid),
        ("HAS OBS CONTEXT", "TEXT", "Device Observer Name", "monai-bone-ssl"),
        ("HAS OBS CONTEXT", "TEXT", "Device Observer Manufacturer", "monai_bone_ssl"),
        ("HAS OBS CONTEXT", "TEXT", "Device Observer Model Name", "bone-fracture 1.2.0"),
        ("HAS CONCEPT MOD", "CODE", "Procedure reported", "Imaging procedure"),
        # TID 1600 to 1602: the images
        ("CONTAINS", "CONTAINER", "Image Library", ""),
        ("CONTAINS", "CONTAINER", "Image Library Group", ""),
        ("CONTAINS", "IMAGE", "Source", ""),
        ("HAS ACQ CONTEXT", "CODE", "Modality", "Computed Radiography"),
        ("HAS ACQ CONTEXT", "NUM", "Pixel Data Rows", "64"),
        ("HAS ACQ CONTEXT", "NUM", "Pixel Data Columns", "80"),
        # TID 1501: one group an image
        ("CONTAINS", "CONTAINER", "Imaging Measurements", ""),
        ("CONTAINS", "CONTAINER", "Measurement Group", ""),
        ("HAS OBS CONTEXT", "TEXT", "Tracking Identifier", "Image 1 of 1"),
        (
            "HAS OBS CONTEXT",
            "UIDREF",
            "Tracking Unique Identifier",
            tracking_uid(header.SOPInstanceUID, ALGORITHM),
        ),
        ("CONTAINS", "CODE", "Finding", "Fracture"),
        ("HAS CONCEPT MOD", "CODE", "Finding Site", "Wrist joint"),
        ("HAS CONCEPT MOD", "CODE", "Laterality", "Left"),
        # TID 4019: the algorithm
        ("HAS CONCEPT MOD", "TEXT", "Algorithm Name", "bone-fracture"),
        ("HAS CONCEPT MOD", "TEXT", "Algorithm Version", "1.2.0"),
        ("HAS CONCEPT MOD", "TEXT", "Algorithm Parameters", f"Weights SHA-256 {'0123456789abcdef' * 4}"),
        ("HAS CONCEPT MOD", "TEXT", "Algorithm Parameters", "Software monai-bone-ssl 0.1.0"),
        (
            "HAS CONCEPT MOD",
            "TEXT",
            "Algorithm Parameters",
            "Negative below probability 0.2 (high-sensitivity operating point)",
        ),
        (
            "HAS CONCEPT MOD",
            "TEXT",
            "Algorithm Parameters",
            "Positive from probability 0.7 (high-specificity operating point)",
        ),
        ("HAS CONCEPT MOD", "CODE", "Algorithm Family", "Artificial Intelligence"),
        # TID 300: the number, of what, and inferred from which patch
        ("CONTAINS", "NUM", "Probability", "0.93"),
        ("HAS CONCEPT MOD", "TEXT", "Equivalent Meaning of Concept Name", "Probability of fracture"),
        ("INFERRED FROM", "SCOORD", "Source of Measurement", ""),
        ("SELECTED FROM", "IMAGE", "Source", ""),
        ("CONTAINS", "CODE", "Fracture", "Present"),
        ("CONTAINS", "CODE", "Summary of Analyses", "Succeeded"),
        ("CONTAINS", "IMAGE", "Source of Measurement", ""),
        (
            "CONTAINS",
            "TEXT",
            "Comment",
            "Suspected fracture, probability of fracture 0.93. "
            "The rectangle marks the patch with the most evidence; it does not locate the finding.",
        ),
        # TID 1500, rows 12 to 14: the study
        ("CONTAINS", "CONTAINER", "Qualitative Evaluations", ""),
        ("CONTAINS", "CODE", "Fracture", "Present"),
        ("CONTAINS", "CODE", "Summary of Analyses", "Succeeded"),
        (
            "CONTAINS",
            "TEXT",
            "Conclusion",
            "Suspected fracture (1 of 1 image analysed). Algorithm result, not verified by a reader.",
        ),
    ]


def test_groups_are_numbered_in_the_order_of_the_images() -> None:
    headers = [make_header(number) for number in (2, 1, 3)]
    report = read_back(report_of(*(analysed(header, 0.1) for header in headers)))
    groups = report.content.get_image_measurement_groups()
    assert [
        (group.tracking_identifier, group.source_images[0].referenced_sop_instance_uid) for group in groups
    ] == [(f"Image {number} of 3", headers[number - 1].SOPInstanceUID) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("side", "coded"),
    [("R", codes.cid244.Right), ("L", codes.cid244.Left), ("B", codes.cid244.Bilateral), (None, None)],
)
def test_side_of_the_site(side: str | None, coded: Code | None) -> None:
    [group] = read_back(
        report_of(analysed(make_header(), 0.1, laterality=side))
    ).content.get_image_measurement_groups()
    assert [(site.value, site.laterality) for site in group.finding_sites] == [
        (codes.cid4031.WristJoint, coded)
    ]


@pytest.mark.parametrize(("probability", "marked"), [(0.1, False), (0.4, True), (0.9, True)])
def test_only_a_marked_patch_is_mentioned(probability: float, marked: bool) -> None:
    for box, mentioned in ((BOX, marked), (None, False)):
        rows = outline(report_of(analysed(make_header(), probability, peak_box=box)))
        assert ("SCOORD" in [row[1] for row in rows]) is mentioned
        assert any("rectangle" in row[3] for row in rows) is mentioned


def test_who_made_it_and_how_far_it_can_be_trusted() -> None:
    report = report_of(analysed(make_header(), 0.93), algorithm=replace(ALGORITHM, manufacturer="Clinic"))
    assert {keyword: report.get(keyword) for keyword in ATTRIBUTES} == ATTRIBUTES
    equipment = report.ContributingEquipmentSequence[0]  # highdicom adds itself
    assert equipment.Manufacturer == "Clinic"
    assert equipment.DeviceUID == ALGORITHM.device_uid
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Equipment"
    assert equipment.ContributionDateTime == CREATED


#: Of the report as an object. The series is told apart from the modality's own by number and name.
ATTRIBUTES = {
    "Modality": "SR",
    "SeriesNumber": 9001,
    "InstanceNumber": 1,
    "SeriesDescription": "Fracture analysis (AI, unverified)",
    "Manufacturer": "Clinic",
    "ManufacturerModelName": "bone-fracture",
    "SoftwareVersions": "0.1.0",
    "ContentQualification": "RESEARCH",
    "CompletionFlag": "COMPLETE",
    "VerificationFlag": "UNVERIFIED",
    "PreliminaryFlag": "PRELIMINARY",
    "ContentDate": CREATED.date(),
    "ContentTime": CREATED.time(),
    "InstanceCreationDate": CREATED.date(),
    "InstanceCreationTime": CREATED.time(),
}
