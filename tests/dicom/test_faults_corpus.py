"""Files with one fault each, as hospitals' systems write them: every one with its right outcome."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from outside import shared
from reading import outcome_and_memory

from monai_bone_ssl.analysis import analyse_file
from monai_bone_ssl.dicom.collect import Source, find_files, group_by_study
from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import BoneSSLError, ReasonCode
from monai_bone_ssl.findings import Refused
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.notes import NoteCode

READ = "read"

#: File -> outcome of reading it, and what is noted.
OUTCOMES: dict[str, tuple[str, set[NoteCode]]] = {
    "01_left_aligned/left_dcmcjpls.dcm": (READ, set()),
    "01_left_aligned/left_unc.dcm": (READ, set()),
    "02_identity/gb18030_under_ISO_IR_192.dcm": (READ, {NoteCode.CHARACTER_SET}),
    "02_identity/t41_ir13_kanji_escape.dcm": (READ, set()),
    "02_identity/t46_pid_latin1_under_utf8.dcm": ("undecodable_identity", set()),
    "02_identity/two_patients_one_study/a0.dcm": ("undecodable_identity", set()),
    "02_identity/two_patients_one_study/a1.dcm": ("undecodable_identity", set()),
    "03_japanese_names/t36_akiyama.dcm": (READ, set()),
    "03_japanese_names/t39_ok.dcm": (READ, set()),
    "04_charset/iso_ir_100_with_blanks.dcm": (READ, {NoteCode.CHARACTER_SET}),
    "04_charset/t04_ISO_2022_IR_6.dcm": (READ, {NoteCode.CHARACTER_SET}),
    "04_charset/t10_unknown_ISO_IR_999.dcm": (READ, {NoteCode.CHARACTER_SET}),
    "06_excess/b8_excess_one_row.dcm": (READ, {NoteCode.EXCESS_PIXEL_DATA}),
    "07_polarity/p2_m2_inverse_wrong_shape.dcm": ("invalid_header", set()),
    "07_polarity/p3_m1_identity.dcm": ("invalid_header", set()),
    "08_voi/l2_agfa_lut16_says_12bit_data.dcm": (READ, {NoteCode.VOI_LUT}),
    "08_voi/w1_width0.dcm": (READ, {NoteCode.WINDOW}),
    "08_voi/w7_decimal_comma.dcm": (READ, {NoteCode.WINDOW}),
    "09_encapsulation/j05_wrong_bot.dcm": (READ, {NoteCode.OFFSET_TABLE}),
    "09_encapsulation/j17_ybr422_one_component.dcm": (READ, {NoteCode.PHOTOMETRIC_INTERPRETATION}),
    "09_encapsulation/j28_trailing_zero_20.dcm": (READ, {NoteCode.EXCESS_PIXEL_DATA}),
    "10_body_part/k01.dcm": (READ, {NoteCode.BODY_PART}),
    "10_body_part/k02.dcm": (READ, {NoteCode.BODY_PART}),
    "10_body_part/k05.dcm": (READ, {NoteCode.BODY_PART}),
    "10_body_part/k06.dcm": (READ, {NoteCode.BODY_PART}),
    "10_body_part/k10.dcm": (READ, set()),
    "10_body_part/k18.dcm": (READ, {NoteCode.BODY_PART}),
    "11_agreement/y3_pid_leading_space/a0.dcm": (READ, set()),
    "11_agreement/y3_pid_leading_space/a1.dcm": (READ, set()),
    "11_agreement/y6_ideographic_in_one/a0.dcm": (READ, set()),
    "11_agreement/y6_ideographic_in_one/a1.dcm": (READ, set()),
    "13_values/d1_acrnema_date.dcm": (READ, {NoteCode.INVALID_VALUE}),
    "13_values/d4_sex_age.dcm": (READ, {NoteCode.INVALID_VALUE}),
    "13_values/t18_backslash_in_name.dcm": (READ, {NoteCode.INVALID_VALUE}),
}
BOMBS = ["12_bombs/deflate_700MB.dcm", "12_bombs/j2k_20000.dcm"]


@pytest.fixture(scope="module")
def faults() -> Path:
    return shared("data/dicom_faults")


def test_no_file_is_left_out(faults: Path) -> None:
    found = {path.relative_to(faults).as_posix() for path in faults.rglob("*.dcm")}
    assert found == {*OUTCOMES, *BOMBS}


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcome(name: str, faults: Path) -> None:
    outcome, notes = OUTCOMES[name]
    if outcome != READ:
        with pytest.raises(BoneSSLError) as caught:
            read_radiograph(faults / name)
        assert caught.value.code.value == outcome
        return
    assert {note.code for note in read_radiograph(faults / name).notes} == notes


def test_left_aligned_pixels_are_the_same_after_compression(faults: Path) -> None:
    plain, packed = (
        read_radiograph(faults / "01_left_aligned" / f"left_{kind}.dcm") for kind in ("unc", "dcmcjpls")
    )
    np.testing.assert_array_equal(plain.pixels, packed.pixels)


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("02_identity/gb18030_under_ISO_IR_192.dcm", "Wang^XiaoDong=王^小东"),
        ("02_identity/t41_ir13_kanji_escape.dcm", "YAMADA^TARO=山田^太郎"),
        ("03_japanese_names/t36_akiyama.dcm", "Yamada^X=秋山^俊"),
        ("03_japanese_names/t39_ok.dcm", "Yamada^X=山田^太郎"),
        ("04_charset/iso_ir_100_with_blanks.dcm", "Müller^Jörg"),
        ("04_charset/t04_ISO_2022_IR_6.dcm", "Mueller^Joerg"),
        ("04_charset/t10_unknown_ISO_IR_999.dcm", "Müller^Jörg"),
    ],
)
def test_names(name: str, patient: str, faults: Path) -> None:
    assert str(read_radiograph(faults / name).header.PatientName) == patient


def test_the_attribute_that_cannot_be_read_is_named(faults: Path) -> None:
    with pytest.raises(BoneSSLError, match=r"^PatientID "):
        read_radiograph(faults / "02_identity/t46_pid_latin1_under_utf8.dcm")


@pytest.mark.parametrize(
    ("folder", "code"),
    [
        ("02_identity/two_patients_one_study", ReasonCode.CONFLICTING_PATIENT),
        ("11_agreement/y3_pid_leading_space", None),
        ("11_agreement/y6_ideographic_in_one", None),
    ],
)
def test_studies(folder: str, code: ReasonCode | None, faults: Path) -> None:
    (study,) = group_by_study(find_files([faults / folder]))
    assert [source.error and source.error.code for source in study.sources] == [code, code]


@pytest.mark.parametrize(
    ("name", "term"),
    [("k01", "ANKLE"), ("k02", "KNEE"), ("k05", "ANKLE"), ("k06", "ANKLE"), ("k10", "HAND"), ("k18", None)],
)
def test_body_parts(name: str, term: str | None, faults: Path) -> None:
    assert read_radiograph(faults / "10_body_part" / f"{name}.dcm").anatomy == term


def test_a_tibia_that_is_tagged_as_a_hand(faults: Path, shipped: Model) -> None:
    finding = analyse_file(Source(faults / "10_body_part/k10.dcm"), shipped).finding
    assert isinstance(finding, Refused)
    assert finding.reason.code is ReasonCode.BODY_PART_CONFLICT


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str, faults: Path) -> None:
    outcome, memory = outcome_and_memory(faults / name)
    assert outcome == ReasonCode.TOO_LARGE
    assert memory < 400
