"""The right patient, or no report."""

from __future__ import annotations

import logging
from copy import deepcopy
from pathlib import Path

import pytest
from pydicom import dcmread
from reports import NAMES, OPTIONAL, analysed, issuer, make_header, named, not_analysed, report_of
from validators import run_tool

from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.report.study import write_report


@pytest.mark.parametrize("key", NAMES)
def test_names_survive(key: str, tmp_path: Path) -> None:
    _, name = NAMES[key]
    path = write_report(report_of(named(key)), tmp_path)
    report = dcmread(path)
    assert str(report.PatientName) == str(report.ReferringPhysicianName) == name
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert report.OtherPatientIDsSequence[0].IssuerOfPatientID == issuer(name)
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
    report = report_of(analysed(make_header(**dict.fromkeys(OPTIONAL)), 0.9))
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyID", "AccessionNumber"):
        assert keyword in report
        assert not report[keyword].value
    assert "IssuerOfPatientID" not in report


def test_single_component_name_is_neither_warned_about_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    header = make_header(PatientName="Madonna", PatientSex="U")  # modalities send it; it says "not known"
    with caplog.at_level(logging.DEBUG):
        report = report_of(analysed(header, 0.9))
    assert (report.PatientName, report.PatientSex) == ("Madonna", "")
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
    first = make_header(1, IssuerOfPatientID="Clinic")
    other = make_header(2, **{"IssuerOfPatientID": "Clinic", keyword: value})
    second = analysed(other, 0.1) if was_analysed else not_analysed(other)
    with pytest.raises(ReportError, match=keyword) as caught:
        report_of(analysed(first, 0.9), second)
    assert caught.value.code is ReasonCode.CONFLICTING_PATIENT
    for secret in ("PAT-081", "Doe", "19700", "Elsewhere", "Clinic"):
        assert secret not in caught.value.text


def test_each_study_gets_its_own_patient() -> None:
    first, second = (
        report_of(analysed(make_header(study=study, PatientName=name), 0.9), study=study)
        for study, name in (("1.2.3.1", "Doe^Jane"), ("1.2.3.2", "Roe^Richard"))
    )
    assert (first.StudyInstanceUID, str(first.PatientName)) == ("1.2.3.1", "Doe^Jane")
    assert (second.StudyInstanceUID, str(second.PatientName)) == ("1.2.3.2", "Roe^Richard")
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_padded_name_is_the_same_patient() -> None:
    padded = make_header(2, PatientName="Doe^Jane^^^")
    assert report_of(analysed(make_header(1), 0.9), analysed(padded, 0.1)).PatientID == "PAT-0815"


def test_image_of_another_study_is_refused() -> None:
    with pytest.raises(ReportError, match="another study"):
        report_of(analysed(make_header(1), 0.9), analysed(make_header(2, study="1.2.3.4"), 0.1))
