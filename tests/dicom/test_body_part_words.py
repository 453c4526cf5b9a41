"""Body Part Examined as departments write it: side, view, plural, ten languages, words that say nothing."""

from __future__ import annotations

import tomllib
from collections import Counter

import pytest
from analyses import ROOT
from hypothesis import given
from hypothesis import strategies as st

from monai_bone_ssl.body_parts import ANATOMY
from monai_bone_ssl.dicom.body_part_words import BESIDE, WORDS, term_of_body_part


@pytest.mark.parametrize(
    ("value", "term"),
    [
        ("ANKLE", "ANKLE"),
        ("L ANKLE", "ANKLE"),
        ("ANKLE LT", "ANKLE"),
        ("ANKLES", "ANKLE"),
        ("KNEE_LAT", "KNEE"),
        ("RKNEE", "KNEE"),
        ("KNEE-AP/LAT STANDING", "KNEE"),
        ("knee joint, 2 views", "KNEE"),
        ("OS_CALCIS", "CALCANEUS"),
        ("TIB FIB", "TIBIAFIBULA"),
        ("Tibia & Fibula", "TIBIAFIBULA"),
        ("ULNA/RADIUS", "RADIUSULNA"),
        ("UP_EXM", "ARM"),
        ("Sprunggelenk", "ANKLE"),
        ("Oberes Sprunggelenk re. seitlich", "ANKLE"),
        ("Kn\u00f6chel", "ANKLE"),
        ("Fu\u00df links in 2 Ebenen", "FOOT"),
        ("H\u00dcFTGELENK", "HIP"),
        ("avant-bras", "FOREARM"),
        ("genou gauche face", "KNEE"),
        ("\u00c9PAULE DROITE", "SHOULDER"),
        ("mu\u00f1eca izquierda", "WRIST"),
        ("DEDO DEL PIE", "TOE"),
        ("ginocchio dx", "KNEE"),
        ("m\u00e3o direita", "HAND"),
        ("p\u00e9", "FOOT"),
        ("tornozelo AP", "ANKLE"),
        ("sa\u011f ayak bile\u011fi", "ANKLE"),
        ("el bile\u011fi grafisi", "WRIST"),
        ("d\u0130z", "KNEE"),
        ("\u041a\u043e\u043b\u0435\u043d\u043d\u044b\u0439 \u0441\u0443\u0441\u0442\u0430\u0432", "KNEE"),
        ("\u043b\u0435\u0432\u0430\u044f \u043a\u0438\u0441\u0442\u044c", "HAND"),
        ("\u53f3\u819d\u95a2\u7bc0", "KNEE"),
        ("\u624b\u95a2\u7bc0", "WRIST"),
        ("\u5de6\u624b", "HAND"),
        ("\u8db3\u95a2\u7bc0\u6b63\u9762", "ANKLE"),
        ("\u53f3\u819d\u5173\u8282\u4fa7\u4f4d", "KNEE"),
        ("\u8155\u5173\u8282", "WRIST"),
        ("Hand Gelenk", "WRIST"),
        ("Knie Gelenk", "KNEE"),
        ("\u53cc\u624b\u6b63\u4f4d", "HAND"),
    ],
)
def test_words_of_departments_are_understood(value: str, term: str) -> None:
    assert term_of_body_part(value) == term


@pytest.mark.parametrize(
    "value",
    ["", "  ", "DEFAULT", "NONE", "n/a", "not specified", "LEFT", "AP", "L LAT", "Bone", "X-RAY", "2", "--"],
)
def test_words_that_say_nothing_are_silence(value: str) -> None:
    assert term_of_body_part(value) is None


@pytest.mark.parametrize("value", ["HAND FOOT", "KNEE/ANKLE", "hand and wrist", "tibia, patella"])
def test_two_regions_leave_the_choice_to_the_image(value: str) -> None:
    assert term_of_body_part(value) is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [("CHEST", "CHEST"), ("chest pa", "CHEST PA"), ("HAND CHEST", "HAND CHEST"), ("C-SPINE", "C-SPINE")],
)
def test_other_values_come_back_as_the_header_has_them(value: str, shown: str) -> None:
    assert term_of_body_part(value) == shown


def test_a_long_value_is_cut_short() -> None:
    assert term_of_body_part("SKULL " * 100) == ("SKULL " * 100)[:40]


def test_the_vocabulary_is_written_as_values_are_compared() -> None:
    table = tomllib.loads(
        (ROOT / "monai_bone_ssl/resources/body_part_words.toml").read_text(encoding="utf-8")
    )
    words = [word for value in table["terms"].values() for word in value.split()]
    assert [word for word, n in Counter(words).items() if n > 1] == [], "a word names one region"
    assert set(table["terms"]) <= set(ANATOMY)
    assert not set(words) & BESIDE
    for word, term in WORDS.items():
        assert term_of_body_part(word) == term


_AROUND = st.lists(
    st.sampled_from(["L", "left", "RT", "re.", "AP", "lat", "2", "gauche", "x-ray"]), max_size=3
)


@given(
    before=_AROUND,
    word=st.sampled_from(sorted(word for word in WORDS if word.isascii())),
    after=_AROUND,
    separator=st.sampled_from([" ", "_", "-", ", ", "/"]),
)
def test_sides_and_views_around_a_word_change_nothing(
    before: list[str], word: str, after: list[str], separator: str
) -> None:
    value = separator.join([*before, word.lower(), *after])
    assert term_of_body_part(value) == WORDS[word]


@given(st.text(max_size=60))
def test_any_text_gives_a_known_term_itself_or_nothing(value: str) -> None:
    term = term_of_body_part(value)
    assert term is None or term in ANATOMY or term == " ".join(value.upper().split())[:40]
