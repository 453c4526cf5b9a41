"""What a reader of a report finds in it: answers, numbers, regions, status and who says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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
    CERTAIN,
    CREATED,
    FAILURE,
    POSSIBLE,
    STUDY,
    analysed,
    items,
    make_header,
    meaning,
    not_analysed,
    read_back,
    report_of,
    with_regions,
    written,
)

from monai_bone_ssl.findings import FRACTURE, UNVERIFIED, describe_study, study_finding
from monai_bone_ssl.report.algorithm_content import tracking_uid
from monai_bone_ssl.report.study import write_report

FRACTURE_CODE = Code("125605004", "SCT", "Fracture")


def comments_of(group: Any) -> list[str]:
    """Comments of a measurement group."""
    return [item.TextValue for item in group[0].ContentSequence if meaning(item) == "Comment"]


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
    [place] = [item for item in said if item.ValueType == "SCOORD"]
    assert list(place.GraphicData) == [0, 0, 80, 0, 80, 64, 0, 64, 0, 0], "the border of the whole image"
    [group] = report.content.get_image_measurement_groups(
        tracking_uid=tracking_uid(header.SOPInstanceUID, ALGORITHM)
    )
    assert group.get_qualitative_evaluations(FRACTURE_CODE)[0].value == codes.cid240.Absent
    assert group.source_images[0].referenced_sop_instance_uid == header.SOPInstanceUID
    # Beside the number it is said of what it is the probability: 0.03 and "Absent" is not that of absence.
    assert comments_of(group) == ["No sign of fracture", "Probability of fracture 0.03", UNVERIFIED]


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
        report_of(not_analysed(headers[0]), not_analysed(headers[1], FAILURE), analysed(headers[2], 0.05))
    )
    said = []
    for group in report.content.get_image_measurement_groups():
        [status] = group.get_qualitative_evaluations(codes.DCM.SummaryOfAnalyses)
        source = group.source_images[0].referenced_sop_instance_uid
        said.append((source, status.value.value, *comments_of(group)))
    assert said == [
        (
            headers[2].SOPInstanceUID,
            "111222",
            "No sign of fracture",
            "Probability of fracture 0.05",
            UNVERIFIED,
        ),
        (headers[0].SOPInstanceUID, "111225", "Not analysed", "A.dcm: body part CHEST, expected HAND"),
        (
            headers[1].SOPInstanceUID,
            "111224",
            "Analysis failed",
            "B.dcm: JPEG data end early, expected 80 x 64 pixels",
        ),
    ]
    assert report.CompletionFlag == "PARTIAL"


def test_nothing_analysed_means_no_answer_and_no_probability() -> None:
    report = report_of(not_analysed(make_header(1)), not_analysed(make_header(2), FAILURE))
    names = [meaning(item) for item in items(report)]
    assert not {"Probability", "Fracture", "Finding"} & set(names)
    assert names.count("Number of Frames") == 2, "by which a viewer shows the comments"


@pytest.mark.parametrize("probability", [0.02, 0.4, 0.95])
def test_a_viewer_can_draw_every_group(probability: float) -> None:
    """A region, or numbers each with a place in the group's image as their only child."""
    image = with_regions(analysed(make_header(1), probability), POSSIBLE, CERTAIN)
    report = report_of(image, not_analysed(make_header(2)), analysed(make_header(3), probability))
    [imaging] = [item for item in report.ContentSequence if meaning(item) == "Imaging Measurements"]
    for group in imaging.ContentSequence:
        [number] = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        [place] = number.ContentSequence
        regions = [item for item in group.ContentSequence if item.ValueType == "SCOORD"]
        assert [list(item.GraphicData) for item in regions] in ([], [list(place.GraphicData)])
        assert (place.ValueType, place.RelationshipType) == ("SCOORD", "INFERRED FROM")


def test_the_most_severe_image_comes_first() -> None:
    probabilities = (0.1, 0.95, 0.4, 0.72, 0.15)
    images = [analysed(make_header(number), p) for number, p in enumerate(probabilities, start=2)]
    report = report_of(not_analysed(make_header(1)), *images)
    names = [item.TextValue for item in items(report) if meaning(item) == "Tracking Identifier"]
    assert names == [f"Image {number} of 6" for number in (3, 5, 4, 6, 2, 1)]


@pytest.mark.parametrize(
    ("probability", "certain", "finding"), [(0.9, "Present", FRACTURE_CODE), (0.4, "Undetermined", None)]
)
def test_each_region_is_a_group_of_its_own(probability: float, certain: str, finding: Code | None) -> None:
    header = make_header()
    report = read_back(report_of(with_regions(analysed(header, probability), POSSIBLE, CERTAIN)))
    [image] = report.content.get_image_measurement_groups()
    assert "1 certain region, 1 possible" in comments_of(image)
    [place] = image.get_measurements(codes.DCM.Probability)[0].referenced_coordinates
    assert place.value.max(axis=0).tolist() == [80, 64], "the pooled evidence is that of the whole image"
    regions = report.content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in regions] == [
        "Image 1 of 1, certain region 1",
        "Image 1 of 1, possible region 2",
    ]
    assert len({group.tracking_uid for group in (image, *regions)}) == 3
    assert [comments_of(group) for group in regions] == [
        ["Certain region, probability of fracture 0.31"],
        ["Possible region, probability of fracture 0.41"],
    ]
    assert [group.finding_type for group in regions] == [finding, None]
    answers = [group.get_qualitative_evaluations(FRACTURE_CODE)[0].value.meaning for group in regions]
    assert answers == [certain, "Undetermined"]
    for group, region in zip(regions, (CERTAIN, POSSIBLE), strict=True):
        (left, top), (right, bottom) = group.roi.value.min(axis=0), group.roi.value.max(axis=0)
        assert (top, left) == (region.row, region.column)
        assert (bottom - top, right - left) == (region.height, region.width)
        assert group.get_measurements(codes.DCM.Probability)[0].value == region.probability


def test_a_negative_image_shows_no_region() -> None:
    plain = analysed(make_header(), 0.1)
    assert written(report_of(with_regions(plain, POSSIBLE))) == written(report_of(plain))


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
        # TID 300: the number, and inferred from which patch
        ("CONTAINS", "NUM", "Probability", "0.93"),
        ("INFERRED FROM", "SCOORD", "Source of Measurement", ""),
        ("SELECTED FROM", "IMAGE", "Source", ""),
        ("CONTAINS", "CODE", "Fracture", "Present"),
        ("CONTAINS", "CODE", "Summary of Analyses", "Succeeded"),
        ("CONTAINS", "IMAGE", "Source of Measurement", ""),
        ("CONTAINS", "TEXT", "Comment", "Suspected fracture"),
        ("CONTAINS", "TEXT", "Comment", "Probability of fracture 0.93"),
        ("CONTAINS", "TEXT", "Comment", "The rectangle marks the most evidence, not the finding"),
        ("CONTAINS", "TEXT", "Comment", UNVERIFIED),
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
    report = report_of(analysed(make_header(), probability))
    [place] = [item for item in items(report) if item.ValueType == "SCOORD"]
    assert (list(place.GraphicData)[:2] == [BOX.left, BOX.top]) is marked
    assert any("rectangle" in row[3] for row in outline(report)) is marked


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
