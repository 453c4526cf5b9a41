"""What derived objects take over from headers that break the rules: always valid, never untrue."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from dicom_factory import limb_pixels, make_radiograph
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from reading import refusal
from reports import analysed, report_of
from validators import dciodvfy

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.dicom.source_values import source_values
from monai_bone_ssl.errors import ReasonCode
from monai_bone_ssl.notes import NoteCode
from monai_bone_ssl.report.study import write_report

PIXELS = limb_pixels()


def with_values(path: Path, **values: bytes) -> Path:
    """A radiograph with attributes whose bytes are whatever a sender wrote."""

    def edit(dataset: Dataset) -> None:
        for keyword, value in values.items():
            tag, padded = Tag(keyword_dict[keyword]), value + b" " * (len(value) % 2)
            dataset[tag] = RawDataElement(tag, dictionary_VR(keyword), len(padded), padded, 0, False, True)
        dataset.set_original_encoding(False, True, ["UTF8"])  # or pydicom would decode what it writes

    return make_radiograph(path, PIXELS, edit=edit)


def report(path: Path, folder: Path) -> Path:
    """The SR on a radiograph, written."""
    header = read_radiograph(path).header
    return write_report(report_of(analysed(header, 0.9), study=header.StudyInstanceUID), folder)


@pytest.mark.parametrize(
    ("keyword", "written", "valid"),
    [
        ("StudyDate", b"2004.08.26", "20040826"),
        ("StudyDate", b"20040231", None),
        ("StudyDate", b"26/08/2004", None),
        ("StudyDate", b"2004", None),
        ("StudyDate", b"20040826-20040827", None),
        ("StudyTime", b"18:50:59", "185059"),
        ("StudyTime", b"18:50:59.5", "185059.5"),
        ("StudyTime", b"185059.1234567", "185059.123456"),
        ("StudyTime", b"1850", "1850"),
        ("StudyTime", b"256199", None),
        ("StudyTime", b"6 pm", None),
        ("PatientBirthDate", b"1979.04.08", "19790408"),
        ("PatientBirthDate", b"unknown", None),
        ("PatientSex", b"m", "M"),
        ("PatientSex", b"female", "F"),
        ("PatientSex", b"?", None),
        ("PatientSex", b"U", None),
        ("PatientSex", b"W", None),
        ("PatientAge", b"045Y", "045Y"),
        ("PatientAge", b"45Y", "045Y"),
        ("PatientAge", b"0045 y", "045Y"),
        ("PatientAge", b"62", None),
        ("PatientAge", b"1045Y", None),
        ("AccessionNumber", b"A" * 16, "A" * 16),
        ("AccessionNumber", b"A" * 17, None),
        ("AccessionNumber", rb"A1\A2", None),
        ("StudyID", b"11\x00", "11"),
        ("StudyDescription", b"left\tknee", "left knee"),
        ("StudyDescription", rb"knee\ap", None),
        ("StudyDescription", b"k" * 65, None),
        ("ReferringPhysicianName", b"A^B^C^D^E^^^", "A^B^C^D^E"),
        ("ReferringPhysicianName", rb"A^B\C^D", None),
        ("ReferringPhysicianName", b"A=B=C=D", None),
        ("PatientComments", b"fell\r\non the hand", "fell\r\non the hand"),
        ("PatientComments", b"bell\x07", "bell"),
        ("PatientSize", b"1.75", "1.75"),
        ("PatientSize", b"1.7500000000000000", None),
        ("SmokingStatus", b"no", "NO"),
        ("SmokingStatus", b"sometimes", None),
        ("PatientName", rb"Smith\Jones^A", "Smith Jones^A"),
        ("PatientName", b"Smith\x1f^A", "Smith ^A"),
        ("PatientName", b"Doe^Jane^^^^^^", "Doe^Jane"),
    ],
)
def test_a_value_is_carried_put_right_or_left_out(
    keyword: str, written: bytes, valid: str | None, tmp_path: Path
) -> None:
    path = with_values(tmp_path / "i.dcm", **{keyword: written})
    found = read_radiograph(path)
    assert str(source_values(found.header).dataset.get(keyword, None)) == str(valid)
    codes = [note.code for note in found.notes if keyword in note.text]
    assert codes == ([] if written.strip(b" \0") == str(valid).encode() else [NoteCode.INVALID_VALUE])
    written_report = report(path, tmp_path)
    assert str(dcmread(written_report).get(keyword) or "") == (valid or "")
    assert dciodvfy(written_report).errors == []


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", rb"12\34"),
        ("PatientID", b"12\x0134"),
        ("PatientID", b"1" * 65),
        ("IssuerOfPatientID", rb"A\B"),
        ("PatientName", rb"Smith^A\Jones^B"),
        ("PatientName", b"A" * 65),
        ("PatientName", b"A=B=C=D"),
        ("PatientName", b"A^B^C^D^E^F"),
    ],
)
def test_an_identity_that_cannot_be_carried_as_it_is_is_refused(
    keyword: str, value: bytes, tmp_path: Path
) -> None:
    error = refusal(with_values(tmp_path / "i.dcm", **{keyword: value}))
    assert error is not None
    assert error.code is ReasonCode.UNDECODABLE_IDENTITY
    assert error.text.startswith(keyword)
    assert value.decode()[:4] not in error.text


def test_a_name_that_alone_says_who_it_is_is_not_put_right(tmp_path: Path) -> None:
    error = refusal(with_values(tmp_path / "i.dcm", PatientName=rb"Smith\Jones^A", PatientID=b""))
    assert error is not None
    assert error.code is ReasonCode.UNDECODABLE_IDENTITY


def _sequence(**values: str) -> Callable[[Dataset], None]:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)

    def edit(dataset: Dataset) -> None:
        dataset.OtherPatientIDsSequence = [item]
        dataset.ProcedureCodeSequence = [item]
        dataset.ReferencedStudySequence = [item]
        dataset.IssuerOfAccessionNumberSequence = [item]

    return edit


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({}, None),
        ({"PatientID": "X"}, None),
        ({"PatientID": "X", "TypeOfPatientID": "TEXT"}, "OtherPatientIDsSequence"),
        ({"CodeValue": "1", "CodingSchemeDesignator": "99X"}, None),
        ({"CodeValue": "1", "CodingSchemeDesignator": "99X", "CodeMeaning": "Knee"}, "ProcedureCodeSequence"),
        ({"ReferencedSOPClassUID": "1.2.840.10008.3.1.2.3.1"}, None),
        ({"UniversalEntityID": "1.2.3"}, None),
        (
            {"UniversalEntityID": "1.2.3", "UniversalEntityIDType": "ISO"},
            "IssuerOfAccessionNumberSequence",
        ),
    ],
)
def test_only_whole_items_of_sequences_are_carried(
    values: dict[str, str], kept: str | None, tmp_path: Path
) -> None:
    path = make_radiograph(tmp_path / "i.dcm", PIXELS, edit=_sequence(**values))
    found = source_values(read_radiograph(path).header)
    sequences = {element.keyword for element in found.dataset if element.VR == "SQ"}
    assert sequences == ({kept} if kept else set())
    assert dciodvfy(report(path, tmp_path)).errors == []


JUNK = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=30).map(str.encode),
    st.from_regex(r"\A[0-9]{4}[.:/ -]?[0-9]{2}[.:/ -]?[0-9]{2}\Z").map(str.encode),
    st.from_regex(r"\A[0-9]{1,4} ?[A-Za-z]?\Z").map(str.encode),
    st.from_regex(r"\A[A-Za-z^=\\ ]{1,80}\Z").map(str.encode),
    st.sampled_from([b"YES", b"TEXT", b"Y", b"1", b"2.25.1", b"\\", b"^", b"=", b"^^^^^^^", b"=="]),
)
ATTRIBUTES = [
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime",
    "PatientSex", "PatientAge", "PatientSize", "PatientWeight", "OtherPatientNames", "PatientComments",
    "TypeOfPatientID", "QualityControlSubject", "PatientIdentityRemoved", "DeidentificationMethod",
    "PatientSpeciesDescription", "PatientSexNeutered", "ResponsiblePerson", "StudyDate", "StudyTime",
    "AccessionNumber", "StudyID", "StudyDescription", "ReferringPhysicianName",
    "ConsultingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "RequestingService", "AdmittingDiagnosesDescription", "MedicalAlerts", "Allergies", "Occupation",
    "SmokingStatus", "AdditionalPatientHistory", "LastMenstrualDate", "ReasonForVisit", "AdmissionID",
    "ServiceEpisodeID", "PatientState", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID", "ClinicalTrialTimePointID", "BodyPartExamined",
    "ImageLaterality",
]  # fmt: skip


@settings(max_examples=60, derandomize=True, database=None, deadline=None)
@given(st.dictionaries(st.sampled_from(ATTRIBUTES), JUNK, min_size=5, max_size=25))
def test_no_source_makes_a_report_invalid(values: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = with_values(Path(folder) / "i.dcm", **values)
        refused = refusal(path)
        if refused is not None:
            assert refused.code is ReasonCode.UNDECODABLE_IDENTITY
        else:
            assert dciodvfy(report(path, Path(folder))).errors == []
