"""CSV that people open in a spreadsheet: text stays text."""

from __future__ import annotations

import ast
import csv
import io

import pytest
from analyses import ROOT

from monai_bone_ssl.files import csv_bytes


def cells(*values: object) -> list[str]:
    """Values after they were written as one line of CSV and read again."""
    text = csv_bytes([str(i) for i in range(len(values))], [values]).decode()
    header, line = csv.reader(io.StringIO(text, newline=""))
    assert len(header) == len(line)
    return line


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_text_that_looks_like_a_formula_is_shown_as_text(start: str) -> None:
    formula = f"{start}HYPERLINK(A1)"
    assert cells("left", formula, "right") == ["left", f"'{formula}", "right"]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_in_a_cell_stay_in_it(end: str) -> None:
    assert cells(f"{end}=A1{end}second", "right") == ["\n=A1\nsecond", "right"]


@pytest.mark.parametrize("value", ["-0.25", "+1", "-1.5e-07", -2, -0.5, None, "plain", "a=b", "", "1.2.840"])
def test_numbers_and_other_text_stay_as_they_are(value: object) -> None:
    assert cells(value, "x")[0] == ("" if value is None else str(value))


def test_csv_is_written_in_one_place() -> None:
    writers = [
        path.name
        for path in (ROOT / "monai_bone_ssl").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("writer", "DictWriter")
    ]
    assert writers == ["files.py"]
