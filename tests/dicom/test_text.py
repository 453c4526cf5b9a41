"""Names and identifiers in every character set, declared rightly, wrongly or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dicom_factory import limb_pixels, make_radiograph
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from reading import refusal
from validators import run_tool

from monai_bone_ssl.dicom.collect import find_files, group_by_study
from monai_bone_ssl.dicom.radiograph import read_header, read_radiograph
from monai_bone_ssl.dicom.text import UNDECODED, Decoded, decode_text, repertoire_of
from monai_bone_ssl.errors import ReasonCode
from monai_bone_ssl.notes import NoteCode

RESETS = b"\t\n\f\r\\^="
EXAMPLES = settings(max_examples=300, derandomize=True, database=None, deadline=None)


def decoded(value: bytes, *terms: str) -> Decoded:
    return decode_text(value, repertoire_of(terms), RESETS)


# --- the standard's own examples: PS3.5 Annex H, I, J and K ------------------------------------------------

PS3_5 = [
    (
        ("", "ISO 2022 IR 87"),
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    (
        ("ISO 2022 IR 13", "ISO 2022 IR 87"),
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J"
        b"=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    (
        ("", "ISO 2022 IR 149"),
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    (
        ("ISO_IR 192",),
        b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1=",
        "Wang^XiaoDong=王^小東=",
    ),
    (("GB18030",), b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
    (
        ("", "ISO 2022 IR 58"),
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东=",
    ),
    (("ISO_IR 100",), b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    (("ISO_IR 144",), b"\xbb\xee\xda\xe1\xd5\xdc\xd1\xe3\xe0\xd3", "Люксембург"),
    (("ISO_IR 127",), b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
    (("ISO_IR 126",), b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
    (("ISO_IR 138",), b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
]


@pytest.mark.parametrize(("terms", "value", "text"), PS3_5)
def test_examples_of_the_standard(terms: tuple[str, ...], value: bytes, text: str) -> None:
    assert decoded(value, *terms) == (text, True)


@pytest.mark.parametrize(
    ("term", "codec", "name"),
    [
        ("ISO_IR 100", "latin_1", "Peña^Ægir"),
        ("ISO_IR 101", "iso8859_2", "Dvořák^Łucja"),
        ("ISO_IR 148", "iso8859_9", "Şahin^İnci"),
        ("ISO_IR 144", "iso8859_5", "Иванов^Пётр"),
        ("ISO_IR 126", "iso8859_7", "Παππάς^Ελένη"),
        ("ISO_IR 166", "tis_620", "สมชาย^ใจดี"),
        ("ISO_IR 192", "utf_8", "Nguyễn^Ánh"),
        ("GB18030", "gb18030", "欧阳^娜娜"),
    ],
)
def test_declared_sets_are_read_as_dcmtk_reads_them(term: str, codec: str, name: str, tmp_path: Path) -> None:
    path = with_text(tmp_path / "i.dcm", PatientName=name.encode(codec), SpecificCharacterSet=term.encode())
    run = run_tool("dcmdump", "+U8", "+P", "PatientName", path)
    assert f"PN [{name}" in run.stdout
    assert str(read_header(path).PatientName) == name


# --- bytes that are separators elsewhere --------------------------------------------------------------------

KANJI = [
    bytes((row, cell)).translate(bytes(i | 0x80 for i in range(256))).decode("euc_jp")
    for row in range(0x30, 0x4F)
    for cell in range(0x21, 0x7F)
]
TRAPS = [kanji for kanji in KANJI if set(kanji.encode("iso2022_jp")[3:5]) & set(b"=\\^")]


@EXAMPLES
@given(st.lists(st.text(st.sampled_from(TRAPS + KANJI[:40]), min_size=1, max_size=4), min_size=1, max_size=3))
def test_kanji_of_separator_bytes(parts: list[str]) -> None:
    """JIS X 0208 has 0x3D, 0x5C and 0x5E in its characters: a name is split after it is decoded."""
    group = b"^".join(part.encode("iso2022_jp") for part in parts)
    assert b"\x1b$B" in group
    assert decoded(b"Yamada^Tarou=" + group, "", "ISO 2022 IR 87") == (
        "Yamada^Tarou=" + "^".join(parts),
        True,
    )


@pytest.mark.parametrize(
    ("term", "codec"), [("GB18030", "gb18030"), ("GBK", "gbk"), ("ISO 2022 GBK", "gbk"), ("GB 18030", "gbk")]
)
def test_chinese_characters_of_separator_bytes(term: str, codec: str, tmp_path: Path) -> None:
    """GBK has 0x5C and 0x5E as second bytes."""
    traps = [c for c in map(chr, range(0x4E00, 0x9FA6)) if c.encode(codec)[1:] in (b"\\", b"^", b"|")]
    name = f"{traps[0]}^{traps[100]}{traps[-1]}"
    path = with_text(tmp_path / "i.dcm", PatientName=name.encode(codec), SpecificCharacterSet=term.encode())
    assert str(read_header(path).PatientName) == name


def test_a_name_goes_through_a_file(tmp_path: Path) -> None:
    terms, value, text = PS3_5[0]
    path = with_text(
        tmp_path / "i.dcm",
        PatientName=value,
        PatientID=b"1\\2",
        SpecificCharacterSet="\\".join(terms).encode(),
    )
    header = read_header(path)
    assert header.SpecificCharacterSet == "ISO_IR 192"
    assert header.PatientName.ideographic == "山田^太郎"
    assert str(header.PatientName) == text
    assert list(header.PatientID) == ["1", "2"]
    header.decode()  # as copying does: the text stays
    assert str(header.PatientName) == text


# --- escape sequences nobody announced ----------------------------------------------------------------------


@pytest.mark.parametrize("term", ["", "ISO_IR 6", "ISO_IR 13", "ISO_IR 100", "ISO_IR 192", "GB18030"])
def test_escape_sequences_mean_what_they_mean(term: str) -> None:
    assert decoded(PS3_5[0][1], term).text == PS3_5[0][2]
    assert decoded(PS3_5[2][1], term).text == PS3_5[2][2]


def test_a_korean_name_that_escapes_once() -> None:
    """The separators take it back, but there is no other set that its bytes could be in."""
    assert decoded(b"Hong^Gildong=\x1b$)C\xfb\xf3^\xd1\xce\xd4\xd7", "").text == "Hong^Gildong=洪^吉洞"


def test_separators_take_escape_sequences_back() -> None:
    assert decoded(b"\x1b-L\xb8^\xe9", "ISO_IR 100").text == "И^é"


@pytest.mark.parametrize("value", [b"\x1b$+X1234", b"\x1b", b"A\x1b-Z\xe9", b"\x1b$B\x7f\x7f", b"\x1b$B0"])
def test_escape_sequences_that_mean_nothing(value: bytes) -> None:
    assert UNDECODED in decoded(value, "ISO_IR 100").text


# --- spellings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "term"),
    [
        ("ISO IR 100", "ISO_IR 100"),
        ("ISO-IR 100", "ISO_IR 100"),
        ("ISO_IR_100", "ISO_IR 100"),
        ("ISO_IR100", "ISO_IR 100"),
        ("iso_ir 100 ", "ISO_IR 100"),
        ("ISO 8859-1", "ISO_IR 100"),
        ("ISO8859-5", "ISO_IR 144"),
        ("ISO_2022_IR_6", "ISO_IR 6"),
        ("ISO 2022-IR 87", "ISO 2022 IR 87"),
        ("ISO_2022_IR_149", "ISO 2022 IR 149"),
        ("UTF-8", "ISO_IR 192"),
        ("ISO_IR_192", "ISO_IR 192"),
        ("ISO 2022 IR 192", "ISO_IR 192"),
        ("gb18030", "GB18030"),
    ],
)
def test_spellings_have_the_obvious_meaning(spelling: str, term: str, tmp_path: Path) -> None:
    assert repertoire_of([spelling]) == repertoire_of([term])
    path = with_text(tmp_path / "i.dcm", SpecificCharacterSet=spelling.encode(), PatientName=b"Doe^Jane")
    radiograph = read_radiograph(path)
    assert str(radiograph.header.PatientName) == "Doe^Jane"
    assert [note.code for note in radiograph.notes] in ([], [NoteCode.CHARACTER_SET])


@pytest.mark.parametrize(
    "term", ["ISO_IR 999", "ISO 2022 IR 999", "LOCAL", "1", "ISO", "\xff", "zlib", "hex"]
)
def test_unknown_terms(term: str, tmp_path: Path) -> None:
    """Where nothing but ASCII depends on it, all is clear; else the bytes have to speak for themselves."""
    path = tmp_path / "i.dcm"
    charset = term.encode("latin_1")
    assert refusal(with_text(path, SpecificCharacterSet=charset, PatientName=b"Doe^Jane")) is None
    with_text(path, SpecificCharacterSet=charset, PatientName=b"M\xfcller^J\xf6rg")
    assert str(read_radiograph(path).header.PatientName) == "Müller^Jörg"
    error = refusal(with_text(path, SpecificCharacterSet=charset, PatientName=b"\xc9\xf1\xe5"))
    assert error is not None
    assert error.code is ReasonCode.UNDECODABLE_IDENTITY


# --- the wrong set, or none: the right text, or none --------------------------------------------------------

NAMES: dict[str, list[str]] = {
    "latin_1": [
        "Müller^Jörg",
        "Schröder",
        "Peña^José",
        "Núñez",
        "Strauß",
        "Ångström",
        "Øst^Bjørn",
        "Zoé",
        "São",
    ],
    "iso8859_2": ["Dvořák", "Łukasiewicz", "Kovács", "Erdős^Pál", "Stańczyk", "Müller", "Žižka", "Šárka"],
    "iso8859_9": ["Şahin^İnci", "Y\u0131lmaz", "Öztürk", "Doğan", "Çelik", "Güneş"],
    "cp1250": ["Šárka", "Žižka", "Łucja"],
    "cp1252": ["Šárka", "Œuvre", "Žan"],
    "iso8859_5": ["Иванов^Пётр", "Сидорова", "Ли", "Ян"],
    "koi8_r": ["Иванов^Пётр", "Сидорова", "Ли"],
    "cp1251": ["Иванов^Пётр", "Шевченко", "Ли"],
    "iso8859_7": ["Παππάς^Ελένη", "Διονυσιος"],
    "iso8859_8": ["שרון^דבורה", "לוי"],
    "iso8859_6": ["قباني^نزار"],
    "tis_620": ["สมชาย^ใจดี"],
    "gb18030": [
        "王^小东",
        "Wang^XiaoDong=王^小东",
        "李^伟",
        "张",
        "欧阳^娜娜",
        "Li^Na=李^娜",
        "Zeng^Yi=曾^毅",
    ],
    "big5": ["許^功蓋", "王^小明", "林", "Wang^Xiaoming=王^小明"],
    "euc_kr": ["홍^길동", "김", "Hong^Gildong=홍^길동", "이^순신"],
    "shift_jis": ["山田^太郎", "ヤマダ^タロウ", "ﾔﾏﾀﾞ^ﾀﾛｳ", "Yamada^Tarou=山田^太郎"],
    "euc_jp": ["山田^太郎", "やまだ^たろう", "Yamada^Tarou=山田^太郎"],
    "utf_8": ["Müller^Jörg", "Dvořák", "Иванов", "王^小东", "山田^太郎", "홍^길동", "Nguyễn", "Ån", "É"],
}
WRITTEN = [(codec, name) for codec, names in NAMES.items() for name in names]


@EXAMPLES
@given(
    st.sampled_from(WRITTEN),
    st.sampled_from(["", "ISO_IR 6", "ISO_IR 192", "ISO_IR 999"]),
    st.sampled_from(["", " ", "12", "-3"]),
)
def test_a_text_is_right_or_marked(written: tuple[str, str], term: str, suffix: str) -> None:
    """Whatever set it is in: what is told without a mark is what was written."""
    codec, name = written
    text, as_declared = decoded((name + suffix).encode(codec), term)
    assert text == name + suffix or UNDECODED in text
    assert as_declared == (term == "ISO_IR 192" and codec == "utf_8")


@pytest.mark.parametrize(
    ("name", "codec", "term"),
    [
        ("Müller^Jörg", "latin_1", "ISO_IR 192"),
        ("Müller^Jörg", "latin_1", ""),
        ("José", "latin_1", "ISO_IR 192"),
        ("Łukasz", "iso8859_2", "ISO_IR 192"),
        ("Müller^Jörg", "utf_8", ""),
        ("Dvořák", "utf_8", ""),
        ("王^小东", "utf_8", ""),
        ("Müller^Jörg", "utf_8", "ISO_IR 100"),
        ("Wang^XiaoDong=王^小东", "gb18030", "ISO_IR 192"),
        ("Wang^XiaoDong=王^小东", "gb18030", ""),
        ("Wang^XiaoDong=王^小东", "gb18030", "ISO_IR 100"),
        ("Yamada^Tarou=山田^太郎", "shift_jis", "ISO_IR 13"),
        ("洪^吉洞", "utf_8", "ISO 2022 IR 149"),
    ],
)
def test_texts_that_their_bytes_tell(name: str, codec: str, term: str, tmp_path: Path) -> None:
    assert decoded(name.encode(codec), term) == (name, False)
    path = with_text(tmp_path / "i.dcm", PatientName=name.encode(codec), SpecificCharacterSet=term.encode())
    radiograph = read_radiograph(path)
    assert str(radiograph.header.PatientName) == name
    (note,) = radiograph.notes
    assert note.code is NoteCode.CHARACTER_SET
    assert "PatientName" in note.text
    assert name not in note.text


@pytest.mark.parametrize("term", ["ISO_IR 100", "ISO_IR 101", "ISO_IR 148"])
def test_a_declared_single_byte_set_is_believed(term: str) -> None:
    assert decoded(b"Pe\xf1a 5\xb0C", term).as_declared


# --- identity -----------------------------------------------------------------------------------------------


def with_text(path: Path, study: str | None = None, **values: bytes) -> Path:
    """Write a radiograph with some bytes as text, in whatever character set."""
    make_radiograph(path, limb_pixels(), study_uid=study)
    content = path.read_bytes()
    for keyword, value in values.items():
        tag = Dataset()
        setattr(tag, keyword, "A")
        element = next(iter(tag))
        key = element.tag.group.to_bytes(2, "little") + element.tag.element.to_bytes(2, "little")
        value += b" " * (len(value) % 2)
        start = content.index(key + element.VR.encode(), 300)
        length = int.from_bytes(content[start + 6 : start + 8], "little")
        head = content[start : start + 6] + len(value).to_bytes(2, "little")
        content = content[:start] + head + value + content[start + 8 + length :]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("keyword", ["PatientID", "PatientName", "AccessionNumber"])
@pytest.mark.parametrize(
    "value", [b"\xc41", b"\xff\xfe", "M\N{REPLACEMENT CHARACTER}ller".encode(), b"\x1b$Z"]
)
def test_an_identity_that_cannot_be_read_is_named(keyword: str, value: bytes, tmp_path: Path) -> None:
    error = refusal(with_text(tmp_path / "i.dcm", **{keyword: value}))
    assert error is not None
    assert error.code is ReasonCode.UNDECODABLE_IDENTITY
    assert keyword in error.text


def test_other_text_is_marked_and_read(tmp_path: Path) -> None:
    header = read_radiograph(with_text(tmp_path / "i.dcm", Manufacturer=b"K\xf1\xe8k Ltd")).header
    assert header.Manufacturer == f"K{UNDECODED}{UNDECODED}k Ltd"


def codes(folder: Path) -> set[str | None]:
    (study,) = group_by_study(find_files([folder]))
    return {source.error and source.error.code.value for source in study.sources}


@pytest.mark.parametrize(("first", "second"), [(b"\xc41", b"\xd61"), (b"\xc41", b"\xc41"), (b"\xc41", b"A1")])
def test_two_patients_are_not_merged_because_they_cannot_be_read(
    first: bytes, second: bytes, tmp_path: Path
) -> None:
    for number, identifier in enumerate((first, second)):
        with_text(tmp_path / f"{number}.dcm", study="1.2.3", PatientID=identifier)
    assert codes(tmp_path) == {"undecodable_identity"}


def test_two_patients_in_a_wrong_set_are_two(tmp_path: Path) -> None:
    with_text(tmp_path / "a.dcm", study="1.2.3", PatientName=b"M\xfcller^Anna", PatientID=b"\xc41")
    with_text(tmp_path / "b.dcm", study="1.2.3", PatientName=b"Schr\xf6der^Bernd", PatientID=b"\xc42")
    assert codes(tmp_path) == {"conflicting_patient"}


def test_one_name_in_two_sets_is_one_patient(tmp_path: Path) -> None:
    name = "Müller^Jörg"
    with_text(tmp_path / "a.dcm", study="1.2.3", PatientName=name.encode())
    with_text(
        tmp_path / "b.dcm",
        study="1.2.3",
        PatientName=name.encode("latin_1"),
        SpecificCharacterSet=b"ISO_IR 100",
    )
    assert codes(tmp_path) == {None}


def test_notes_hold_no_patient_data(tmp_path: Path) -> None:
    path = with_text(tmp_path / "i.dcm", PatientName=b"M\xfcller^J\xf6rg", SpecificCharacterSet=b"utf-8")
    notes = " ".join(note.text for note in read_radiograph(path).notes)
    assert not re.search("M.ller|J.rg", notes)


@pytest.mark.parametrize(
    ("charset", "value", "term"),
    [
        (b"ISO_IR 192", "Kn\u00f6chel".encode(), "ANKLE"),
        (b"ISO_IR 100", "Kn\u00f6chel".encode("latin_1"), "ANKLE"),
        (b"ISO_IR 192", "\u53f3\u819d\u95a2\u7bc0".encode(), "KNEE"),
        (b"GB18030", "\u53f3\u819d\u5173\u8282".encode("gb18030"), "KNEE"),
        (b"ISO_IR 144", "\u041a\u043e\u043b\u0435\u043d\u043e".encode("iso8859_5"), "KNEE"),
    ],
)
def test_a_body_part_in_a_department_s_script(
    charset: bytes, value: bytes, term: str, tmp_path: Path
) -> None:
    path = with_text(tmp_path / "i.dcm", SpecificCharacterSet=charset, BodyPartExamined=value)
    radiograph = read_radiograph(path)
    assert radiograph.anatomy == term
    (note,) = radiograph.notes
    assert note.code is NoteCode.BODY_PART
    assert note.text.endswith(f"read as {term}")


@pytest.mark.parametrize(
    ("value", "notes"), [(b"KNEE", 0), (b"CHEST", 0), (b"", 0), (b"DEFAULT", 1), (b"L ANKLE", 1)]
)
def test_a_body_part_is_noted_where_it_was_understood(value: bytes, notes: int, tmp_path: Path) -> None:
    assert len(read_radiograph(with_text(tmp_path / "i.dcm", BodyPartExamined=value)).notes) == notes
