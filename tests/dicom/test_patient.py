"""One patient in two spellings, and two patients."""

from __future__ import annotations

import pytest
from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_VR

from monai_bone_ssl.dicom.patient import differing_attribute, patient_key

SAME = {
    "PatientID": "123",
    "IssuerOfPatientID": "Clinic",
    "PatientName": "Yamada^Tarou",
    "PatientBirthDate": "19700131",
}


def differing(*changes: dict[str, str | None]) -> str | None:
    """Attribute in which headers differ that are the same but for some changes."""
    headers = []
    for change in changes:
        header = Dataset()
        for keyword, value in {**SAME, **change}.items():
            if value is not None:
                vr = dictionary_VR(keyword)
                header[keyword] = DataElement(keyword, vr, value, validation_mode=config.IGNORE)
        headers.append(header)
    return differing_attribute({patient_key(header) for header in headers})


@pytest.mark.parametrize(
    "change",
    [
        {"PatientID": " 123"},
        {"PatientID": "  123  "},
        {"IssuerOfPatientID": " Clinic"},
        {"PatientName": "Yamada^Tarou^^^"},
        {"PatientName": "Yamada ^Tarou "},
        {"PatientName": "Yamada^Tarou=="},
        {"PatientName": "Yamada^Tarou=山田^太郎"},
        {"PatientName": "Yamada^Tarou==やまだ^たろう"},
        {"PatientBirthDate": "1970.01.31"},
        {"PatientBirthDate": ""},
        {"PatientBirthDate": None},
        {"IssuerOfPatientID": ""},
        {"IssuerOfPatientID": None},
        {"IssuerOfPatientID": None, "PatientBirthDate": None},
    ],
    ids=str,
)
def test_one_patient(change: dict[str, str | None]) -> None:
    assert differing({}, change) is None
    assert differing(change, {}, {}) is None


@pytest.mark.parametrize(
    ("change", "keyword"),
    [
        ({"PatientID": "0123"}, "PatientID"),
        ({"PatientID": "12 3"}, "PatientID"),
        ({"PatientID": "123a"}, "PatientID"),
        ({"PatientID": ""}, "PatientID"),
        ({"PatientID": None}, "PatientID"),
        ({"IssuerOfPatientID": "Elsewhere"}, "IssuerOfPatientID"),
        ({"PatientName": "Yamada^Tarou^Dr"}, "PatientName"),
        ({"PatientName": "Yamada"}, "PatientName"),
        ({"PatientName": ""}, "PatientName"),
        ({"PatientName": None}, "PatientName"),
        ({"PatientName": "=山田^太郎"}, "PatientName"),  # no group in common
        ({"PatientBirthDate": "19700201"}, "PatientBirthDate"),
    ],
    ids=str,
)
def test_two_patients(change: dict[str, str | None], keyword: str) -> None:
    assert differing({}, change) == keyword
    assert differing(change, {}, {}) == keyword


def test_groups_of_a_name_are_compared_where_both_have_them() -> None:
    first, other = {"PatientName": "Yamada^Tarou=山田^太郎"}, {"PatientName": "Yamada^Tarou=山本^太郎"}
    assert differing(first, other) == "PatientName"
    assert differing({}, first, other) == "PatientName"


def test_what_is_missing_in_one_file_hides_no_conflict_between_others() -> None:
    assert differing({"PatientBirthDate": None}, {}, {"PatientBirthDate": "19991231"}) == "PatientBirthDate"


@pytest.mark.parametrize("keyword", ["IssuerOfPatientID", "PatientBirthDate"])
def test_without_patient_id_nothing_may_be_missing(keyword: str) -> None:
    """Then a name alone would have to tell two patients apart."""
    assert differing({"PatientID": ""}, {"PatientID": "", keyword: ""}) == keyword


def test_a_study_without_any_identity_is_one_patients() -> None:
    nothing = dict.fromkeys(SAME)
    assert differing(nothing, nothing) is None
