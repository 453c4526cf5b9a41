"""The Structured Report, judged by readers and validators that share no code with the package's writer."""

from __future__ import annotations

import logging
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR, GraphicTypeValues, srread
from pydicom import DataElement, Dataset, config, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)
from validators import Problems, dciodvfy, pixelmed, run_tool

from monai_bone_ssl.errors import CorruptImage, ReasonCode, ReportError, UnsupportedImage
from monai_bone_ssl.findings import (
    ABNORMALITY,
    FRACTURE,
    UNVERIFIED,
    CodedConcept,
    Decision,
    ImageAnalysis,
    ImageFinding,
    OperatingPoints,
    PixelBox,
    Status,
    Target,
    decide,
    describe_study,
    study_finding,
    unanalysed,
)
from monai_bone_ssl.report import Algorithm, study_report, tracking_uid, write_report
from monai_bone_ssl.uids import derived_uid

POINTS = OperatingPoints(high_sensitivity=0.2, high_specificity=0.7)
BOX = PixelBox(top=16, left=32, bottom=30.5, right=46.25)
WRIST = CodedConcept("74670003", "SCT", "Wrist joint")
FRACTURE_CODE = Code("125605004", "SCT", "Fracture")
CREATED = datetime(2026, 11, 22, 10, 30, 15)
ALGORITHM = Algorithm(
    model_name="bone-fracture",
    model_version="1.2.0",
    weights_sha256="0123456789abcdef" * 4,
    fingerprint="fingerprint-1",
    software_name="monai-bone-ssl",
    software_version="0.1.0",
)
STUDY = "1.2.826.0.1.3680043.10.1"


# --- sources ------------------------------------------------------------------------------------------


def make_header(number: int = 1, study: str = STUDY, **attributes: object) -> Dataset:
    """Header of a radiograph as a reader gets it: written with its own character set, and read again."""
    header = Dataset()
    header.SOPClassUID = ComputedRadiographyImageStorage
    header.StudyInstanceUID = study
    header.SeriesInstanceUID = f"{study}.1"
    header.SOPInstanceUID = f"{study}.1.{number}"
    header.Modality = "CR"
    header.Rows, header.Columns = 64, 80
    header.PatientID = "PAT-0815"
    header.PatientName = "Doe^Jane"
    header.PatientBirthDate = "19700131"
    header.PatientSex = "F"
    header.StudyDate, header.StudyTime = "20260102", "101112"
    header.StudyID, header.AccessionNumber = "STUDY7", "ACC99"
    header.ReferringPhysicianName = "Who^Doctor"
    for keyword, value in attributes.items():
        if value is None:
            del header[keyword]
        else:
            setattr(header, keyword, value)
    file = BytesIO()
    header.file_meta = _file_meta()
    dcmwrite(file, header, enforce_file_format=True)
    file.seek(0)
    return dcmread(file)


def _file_meta() -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def analysed(header: Dataset, probability: float, **context: object) -> ImageAnalysis:
    finding = ImageFinding(
        path=f"/data/{header.SOPInstanceUID}.dcm",
        sop_instance_uid=header.SOPInstanceUID,
        study_instance_uid=header.StudyInstanceUID,
        status=Status.ANALYSED,
        probability=probability,
        decision=decide(probability, POINTS),
        seconds=0.1,
    )
    analysis = ImageAnalysis(finding, header, WRIST, "L", POINTS, BOX)
    return replace(analysis, **context)


def not_analysed(
    header: Dataset, error: UnsupportedImage | CorruptImage | None = None, sop_instance_uid: str | None = None
) -> ImageAnalysis:
    error = error or UnsupportedImage(
        ReasonCode.BODY_PART_NOT_COVERED, "a.dcm: body part CHEST, expected HAND"
    )
    status, reason = unanalysed(error)
    finding = ImageFinding(
        path="/data/a.dcm",
        sop_instance_uid=sop_instance_uid or header.SOPInstanceUID,
        study_instance_uid=header.StudyInstanceUID,
        status=status,
        reason=reason,
        seconds=0.1,
    )
    return ImageAnalysis(finding, header)


FAILURE = CorruptImage(ReasonCode.DECODE_FAILED, "b.dcm: JPEG data end early, expected 80 x 64 pixels")


def report_of(
    *images: ImageAnalysis,
    target: Target = FRACTURE,
    algorithm: Algorithm = ALGORITHM,
    study: str = STUDY,
    created: datetime = CREATED,
) -> Comprehensive3DSR:
    conclusion = study_finding(study, [image.finding for image in images])
    return study_report(images, conclusion, target, algorithm, created)


# --- every kind of study, validated -------------------------------------------------------------------

NAMES = {
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "greek": ("ISO_IR 126", "Παπαδοπουλος^Διονυσιος"),
    "russian": ("ISO_IR 144", "Люксембург^Роза"),
    "chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
    "german": ("ISO_IR 100", "Äneas^Rüdiger"),
}


def _issuer(name: str) -> str:
    """Text in the name's own script, for an element deep in a sequence."""
    return re.split(r"[=^]", name)[2 if "=" in name else 0]


def _named(key: str) -> ImageAnalysis:
    character_set, name = NAMES[key]
    other = Dataset()
    other.PatientID = "other-1"
    other.IssuerOfPatientID = _issuer(name)
    other.TypeOfPatientID = "TEXT"
    header = make_header(
        SpecificCharacterSet=character_set,
        PatientName=name,
        ReferringPhysicianName=name,
        OtherPatientIDsSequence=[other],
    )
    return analysed(header, 0.9)


OPTIONAL = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "Modality",
)

SCENARIOS: dict[str, Callable[[], Comprehensive3DSR]] = {
    "positive": lambda: report_of(analysed(make_header(), 0.93)),
    "indeterminate": lambda: report_of(analysed(make_header(), 0.4)),
    "negative": lambda: report_of(analysed(make_header(), 0.03)),
    "ap_and_lateral": lambda: report_of(analysed(make_header(1), 0.93), analysed(make_header(2), 0.05)),
    "digital_radiography": lambda: report_of(
        analysed(make_header(SOPClassUID=DigitalXRayImageStorageForPresentation, Modality="DX"), 0.93)
    ),
    "first_study": lambda: report_of(analysed(make_header(study="1.2.3.1"), 0.9), study="1.2.3.1"),
    "second_study": lambda: report_of(
        analysed(make_header(study="1.2.3.2", PatientName="Roe^Richard", PatientID="X"), 0.1), study="1.2.3.2"
    ),
    "no_optional_attributes": lambda: report_of(
        analysed(make_header(**dict.fromkeys(OPTIONAL)), 0.93)  # type: ignore[arg-type]
    ),
    "empty_attributes": lambda: report_of(analysed(make_header(**dict.fromkeys(OPTIONAL, "")), 0.93)),  # type: ignore[arg-type]
    "one_not_analysed": lambda: report_of(
        analysed(make_header(1), 0.05),
        not_analysed(make_header(2, SOPClassUID=CTImageStorage, Modality="CT")),
    ),
    "one_failed": lambda: report_of(analysed(make_header(1), 0.93), not_analysed(make_header(2), FAILURE)),
    "nothing_analysed": lambda: report_of(
        not_analysed(make_header(1)), not_analysed(make_header(2), FAILURE)
    ),
    "no_laterality": lambda: report_of(analysed(make_header(), 0.93, laterality=None)),
    "no_anatomy": lambda: report_of(analysed(make_header(), 0.93, anatomy=None, laterality=None)),
    "no_peak_box": lambda: report_of(analysed(make_header(), 0.93, peak_box=None)),
    "abnormality": lambda: report_of(
        analysed(make_header(1), 0.93), analysed(make_header(2), 0.03), target=ABNORMALITY
    ),
    **{f"{key}_name": lambda key=key: report_of(_named(key)) for key in NAMES},  # type: ignore[misc]
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A written report of every scenario."""
    folder = tmp_path_factory.mktemp("reports")
    paths = {}
    for name, make in SCENARIOS.items():
        (folder / name).mkdir()
        paths[name] = write_report(make(), folder / name)
    return paths


#: Names are attributes; one script is enough to show that the content is checked whatever they are.
CONTENTS = [name for name in SCENARIOS if not name.endswith("_name") or name == "japanese_name"]


@pytest.fixture(scope="module")
def broken_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = report_of(analysed(make_header(), 0.93))
    report.ContentSequence[0].RelationshipType = "CONTAINS"  # the language is a concept modifier
    del report.CompletionFlag
    return write_report(report, tmp_path_factory.mktemp("broken"))


@pytest.fixture(scope="module")
def pixelmed_problems(
    reports: dict[str, Path], broken_report: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Problems]:
    paths = {name: reports[name] for name in CONTENTS} | {"broken": broken_report}
    problems = pixelmed(list(paths.values()), tmp_path_factory.mktemp("pixelmed"))
    return {name: problems[path] for name, path in paths.items()}


# TID 1501 allows any CODE and TEXT as qualitative evaluations; PixelMed's edition of 2022 has no rows for
# them and says so. Nothing else may be outside the templates.
_EVALUATION = re.compile(
    r'"Measurement Group"\)/'
    r'(CODE \((125605004,SCT,"Fracture"|121402,DCM,"Normality"|111065,DCM,"Summary of Analyses")\)'
    r'|TEXT \(121106,DCM,"Comment"\)): Content Item not in template$'
)


@pytest.mark.parametrize("name", CONTENTS)
def test_content_follows_the_templates(pixelmed_problems: dict[str, Problems], name: str) -> None:
    problems = pixelmed_problems[name]
    assert problems.errors == []
    assert [line for line in problems.warnings if not _EVALUATION.search(line)] == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_attributes_follow_the_iod(reports: dict[str, Path], name: str) -> None:
    problems = dciodvfy(reports[name])
    assert problems.errors == []
    # Device UID in Contributing Equipment is younger than this dciodvfy, and asked for by IHE AIR.
    known = ["Device UID", "Standard Extended SOP Class"]
    if name in ("no_optional_attributes", "empty_attributes"):
        known.append("needed to build DICOMDIR")  # the source's gaps
    assert [line for line in problems.warnings if not any(words in line for words in known)] == []


def test_validators_see_what_is_wrong(broken_report: Path, pixelmed_problems: dict[str, Problems]) -> None:
    assert any("CompletionFlag" in line for line in dciodvfy(broken_report).errors)
    assert any("Incorrect relationship" in line for line in pixelmed_problems["broken"].errors)


@pytest.mark.parametrize("name", SCENARIOS)
def test_dcmtk_renders_it(reports: dict[str, Path], name: str) -> None:
    dump = run_tool("dsrdump", "+Pl", reports[name])
    assert dump.returncode == 0
    # dcmtk reads UTF-8 but does not check the characters of its values.
    assert re.sub(r"W: The VR checker does not support .*ISO_IR 192\n", "", dump.stderr) == ""
    assert "Conclusion" in dump.stdout


# --- what a reader finds ------------------------------------------------------------------------------


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


def read_back(report: Comprehensive3DSR) -> Comprehensive3DSR:
    return srread(BytesIO(_written(report)))


def _items(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from _items(child)


def _meaning(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def test_negative_image_cannot_be_taken_for_a_finding(tmp_path: Path) -> None:
    header = make_header()
    report = srread(write_report(report_of(analysed(header, 0.03)), tmp_path))
    items = list(_items(report))
    assert "Finding" not in [_meaning(item) for item in items]
    assert "SCOORD" not in [item.ValueType for item in items]
    [group] = report.content.get_image_measurement_groups(
        tracking_uid=tracking_uid(header.SOPInstanceUID, ALGORITHM)
    )
    assert group.get_qualitative_evaluations(FRACTURE_CODE)[0].value == codes.cid240.Absent
    assert group.source_images[0].referenced_sop_instance_uid == header.SOPInstanceUID
    # The number says of what it is the probability, so that 0.03 beside "Absent" is not that of absence.
    [number] = [item for item in items if _meaning(item) == "Probability"]
    assert number.ContentSequence[0].TextValue == "Probability of fracture"


def test_indeterminate_image_has_a_region_but_no_finding() -> None:
    report = read_back(report_of(analysed(make_header(), 0.4)))
    [group] = report.content.get_image_measurement_groups()
    assert group.finding_type is None
    assert len(group.get_measurements()[0].referenced_coordinates) == 1
    assert group.get_qualitative_evaluations(FRACTURE_CODE)[0].value == codes.cid240.Undetermined


@pytest.mark.parametrize("target", [FRACTURE, ABNORMALITY], ids=lambda target: target.name)
def test_answers_are_codes_of_the_standard(target: Target) -> None:
    context_group = {"fracture": codes.cid240, "abnormality": codes.cid242}[target.name]
    known = {getattr(context_group, keyword) for keyword in context_group.dir()}
    for decision in Decision:
        answer = target.answer(decision)
        assert (answer.value, answer.scheme, answer.meaning) in {
            (code.value, code.scheme_designator, code.meaning) for code in known
        }


def test_study_conclusion_stands_apart_from_the_images() -> None:
    images = analysed(make_header(1), 0.05), analysed(make_header(2), 0.93)
    report = report_of(*images)
    [study] = [item for item in report.ContentSequence if _meaning(item) == "Qualitative Evaluations"]
    said = {_meaning(item): item for item in study.ContentSequence}
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
        [comment] = [item.TextValue for item in group[0].ContentSequence if _meaning(item) == "Comment"]
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
    names = [_meaning(item) for item in _items(report)]
    assert not {"Probability", "Fracture", "Finding"} & set(names)
    assert names.count("Comment") == 2


def test_algorithm_is_named() -> None:
    report = report_of(analysed(make_header(), 0.93))
    texts = [item.get("TextValue", "") for item in _items(report)]
    assert {ALGORITHM.model_name, ALGORITHM.model_version} <= set(texts)
    assert any(ALGORITHM.weights_sha256 in text for text in texts)
    assert any("below probability 0.2 " in text for text in texts)
    assert any("from probability 0.7 " in text for text in texts)
    [family] = [item for item in _items(report) if _meaning(item) == "Algorithm Family"]
    assert family.ConceptCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    [observer] = [item for item in _items(report) if _meaning(item) == "Device Observer UID"]
    equipment = report.ContributingEquipmentSequence[0]
    assert equipment.DeviceUID == observer.UID == ALGORITHM.device_uid
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Equipment"
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert report.CompletionFlag == "COMPLETE"


# --- patient and study --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", NAMES)
def test_names_survive(reports: dict[str, Path], key: str) -> None:
    _, name = NAMES[key]
    path = reports[f"{key}_name"]
    report = dcmread(path)
    assert str(report.PatientName) == str(report.ReferringPhysicianName) == name
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert report.OtherPatientIDsSequence[0].IssuerOfPatientID == _issuer(name)
    assert name.encode() in path.read_bytes()  # UTF-8, no escape sequences
    assert f"(0010,0010) PN [{name}]" in run_tool("dcmdump", path).stdout


def test_patient_and_study_are_the_source_s() -> None:
    header = make_header(
        IssuerOfPatientID="Clinic",
        PatientAge="055Y",
        PatientComments="fell",
        StudyDescription="Wrist",
        SpecificCharacterSet="ISO_IR 100",
    )
    before = deepcopy(header)
    report = report_of(analysed(header, 0.9))
    copied = set(before.dir()) - {
        "SpecificCharacterSet",
        *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "Rows", "Columns"),
    }
    assert {"IssuerOfPatientID", "PatientAge", "StudyID", "AccessionNumber"} <= copied
    for keyword in copied:
        assert report[keyword].value == before[keyword].value, keyword
    assert header == before


def test_missing_attributes_stay_empty_or_absent() -> None:
    report = report_of(analysed(make_header(**dict.fromkeys(OPTIONAL)), 0.9))  # type: ignore[arg-type]
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyID", "AccessionNumber"):
        assert keyword in report
        assert not report[keyword].value
    assert "IssuerOfPatientID" not in report


def test_single_component_name_is_neither_warned_about_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    header = make_header(PatientName="Madonna", PatientSex="U")  # a sex that modalities send
    with caplog.at_level(logging.DEBUG):
        report = report_of(analysed(header, 0.9))
    assert (report.PatientName, report.PatientSex) == ("Madonna", "U")
    for secret in ("Madonna", "PAT-0815", "19700131"):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", "PAT-0816"),
        ("PatientName", "Doe^John"),
        ("PatientBirthDate", "19700201"),
        ("IssuerOfPatientID", "Elsewhere"),
    ],
)
@pytest.mark.parametrize("was_analysed", [True, False])
def test_two_patients_are_refused(keyword: str, value: str, was_analysed: bool) -> None:
    other = make_header(2, **{keyword: value})
    second = analysed(other, 0.1) if was_analysed else not_analysed(other)
    with pytest.raises(ReportError, match=keyword) as caught:
        report_of(analysed(make_header(1), 0.9), second)
    assert caught.value.code is ReasonCode.CONFLICTING_PATIENT
    for secret in ("PAT-081", "Doe", "19700", "Elsewhere"):
        assert secret not in caught.value.text


def test_each_study_gets_its_own_patient(reports: dict[str, Path]) -> None:
    first, second = dcmread(reports["first_study"]), dcmread(reports["second_study"])
    assert (first.StudyInstanceUID, str(first.PatientName)) == ("1.2.3.1", "Doe^Jane")
    assert (second.StudyInstanceUID, str(second.PatientName)) == ("1.2.3.2", "Roe^Richard")
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_padded_name_is_the_same_patient() -> None:
    padded = make_header(2, PatientName="Doe^Jane^^^")
    assert report_of(analysed(make_header(1), 0.9), analysed(padded, 0.1)).PatientID == "PAT-0815"


def test_image_of_another_study_is_refused() -> None:
    with pytest.raises(ReportError, match="another study"):
        report_of(analysed(make_header(1), 0.9), analysed(make_header(2, study="1.2.3.4"), 0.1))


def test_finding_of_another_image_is_refused() -> None:
    swapped = replace(analysed(make_header(1), 0.9), header=make_header(2))
    with pytest.raises(ReportError, match="not the one of the finding"):
        report_of(swapped)


# --- which images are referenced ----------------------------------------------------------------------


def test_files_without_header_and_objects_without_pixels_are_left_out() -> None:
    first = make_header(1)
    document = make_header(2, Rows=None, Columns=None)
    no_header = replace(not_analysed(make_header(3)), header=None)
    report = report_of(no_header, not_analysed(document), analysed(first, 0.9))
    assert [uid for _, _, uid, _ in report.get_evidence()] == [first.SOPInstanceUID]


def test_copy_of_an_image_is_reported_once_as_analysed() -> None:
    header = make_header()
    copy = UnsupportedImage(ReasonCode.DUPLICATE_INSTANCE, "c.dcm: the same instance again")
    for images in (
        (analysed(header, 0.9), not_analysed(header, copy)),
        (not_analysed(header, copy), analysed(header, 0.9)),
    ):
        [group] = read_back(report_of(*images)).content.get_image_measurement_groups()
        assert group.get_measurements(codes.DCM.Probability)[0].value == 0.9


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("SeriesInstanceUID", ""), ("SeriesInstanceUID", "1.02.x"), ("SOPClassUID", "1.3.12.2.1107.5.9.1")],
)
def test_analysed_image_is_never_dropped(keyword: str, value: str) -> None:
    header = make_header()
    # As a reader finds it in a file: pydicom writes no such value.
    header[keyword] = DataElement(keyword, "UI", value, validation_mode=config.IGNORE)
    with pytest.raises(ReportError) as caught:
        report_of(analysed(header, 0.9))
    assert caught.value.code is ReasonCode.MISSING_IDENTIFIER


def test_no_image_to_refer_to() -> None:
    with pytest.raises(ReportError, match="no image to refer to"):
        report_of(replace(not_analysed(make_header()), header=None))


@pytest.mark.parametrize(
    "changes", [{"probability": None}, {"decision": None}, {"probability": float("nan")}]
)
def test_incomplete_finding_is_refused(changes: dict[str, None]) -> None:
    image = analysed(make_header(), 0.9)
    broken = replace(image, finding=msgspec.structs.replace(image.finding, **changes))
    study = study_finding(STUDY, [image.finding])
    with pytest.raises(ReportError, match="expected a decision and a probability"):
        study_report([broken], study, FRACTURE, ALGORITHM, CREATED)


def test_answer_of_an_image_that_failed_is_refused() -> None:
    image = not_analysed(make_header(), FAILURE)
    broken = replace(image, finding=msgspec.structs.replace(image.finding, probability=0.9))
    with pytest.raises(ReportError, match="expected a reason and no answer"):
        report_of(broken)


# --- identity -----------------------------------------------------------------------------------------


def _written(report: Comprehensive3DSR) -> bytes:
    file = BytesIO()
    report.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _uids(report: Comprehensive3DSR) -> tuple[str, str]:
    return report.SOPInstanceUID, report.SeriesInstanceUID


def test_same_input_same_bytes() -> None:
    first, second = (
        report_of(analysed(make_header(1), 0.9), analysed(make_header(2), 0.1)) for _ in range(2)
    )
    assert _written(first) == _written(second)


def test_uids_depend_on_images_and_algorithm_only() -> None:
    one, two = analysed(make_header(1), 0.9), analysed(make_header(2), 0.1)
    uids = _uids(report_of(one, two))
    assert uids == _uids(report_of(two, one, created=datetime(2030, 1, 1)))
    others = [
        report_of(one),
        report_of(one, two, algorithm=replace(ALGORITHM, fingerprint="fingerprint-2")),
        report_of(one, two, algorithm=replace(ALGORITHM, software_version="0.1.1")),
        # The report of a run in which an image failed must not block the one in which it succeeded.
        report_of(one, not_analysed(make_header(2), FAILURE)),
    ]
    seen = {*uids}
    for report in others:
        assert not seen & {*_uids(report)}
        seen |= {*_uids(report)}


def test_device_and_tracking_uids() -> None:
    retrained = replace(ALGORITHM, fingerprint="fingerprint-2")
    assert ALGORITHM.device_uid == replace(ALGORITHM, software_version="9").device_uid
    assert ALGORITHM.device_uid != retrained.device_uid
    assert tracking_uid("1.2.3", ALGORITHM) == tracking_uid("1.2.3", replace(ALGORITHM))
    assert (
        len({tracking_uid(uid, model) for uid in ("1.2.3", "1.2.4") for model in (ALGORITHM, retrained)}) == 4
    )


def test_derived_uids_are_valid_and_tell_their_parts_apart() -> None:
    uids = [
        derived_uid("a", "b", "c"),
        derived_uid("a", "bc"),
        derived_uid("ab", "c"),
        derived_uid("a", "c", "b"),
    ]
    assert len(set(uids)) == 4
    assert all(uid.is_valid and uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


@pytest.mark.parametrize("name", ["", "x" * 65, "a\\b"])
def test_algorithm_name_must_fit(name: str) -> None:
    with pytest.raises(ReportError, match="1 to 64 characters"):
        replace(ALGORITHM, model_name=name)


# --- writing ------------------------------------------------------------------------------------------


def test_written_under_its_uid_and_replaced(tmp_path: Path) -> None:
    report = report_of(analysed(make_header(), 0.9))
    assert write_report(report, tmp_path) == write_report(report, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"SR_{report.SOPInstanceUID}.dcm"]


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.write_text("")
    with pytest.raises(ReportError, match="cannot be written") as caught:
        write_report(report_of(analysed(make_header(), 0.9)), folder)
    assert caught.value.code is ReasonCode.WRITE_FAILED


_WRITE_WITH_NO_ROOM = """
import resource, signal, sys
from pathlib import Path
from pydicom import dcmread
from monai_bone_ssl.errors import ReportError
from monai_bone_ssl.report import write_report

report = dcmread(sys.argv[1])
report.ensure_file_meta()
report.ContentSequence  # read before the limit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
try:
    write_report(report, Path(sys.argv[2]))
except ReportError as error:
    print(error.code)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
def test_no_half_file_where_there_is_no_room(tmp_path: Path) -> None:
    """The kernel stops the write after 2048 bytes; the older report of that name stays whole."""
    report = report_of(analysed(make_header(), 0.9))
    path = write_report(report, tmp_path)
    whole = path.read_bytes()
    assert len(whole) > 2048
    run = subprocess.run(
        [sys.executable, "-c", _WRITE_WITH_NO_ROOM, path, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "write_failed\n", run.stderr
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == whole
