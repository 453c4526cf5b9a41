"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from monai_bone_ssl.wording import counted


@pytest.mark.parametrize(
    ("count", "nouns", "words"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("study", "studies"), "2 studies"),
        (1, ("study", "studies"), "1 study"),
        (12345, ("file",), "12,345 files"),
    ],
)
def test_a_number_has_its_noun(count: int, nouns: tuple[str, ...], words: str) -> None:
    assert counted(count, *nouns) == words
