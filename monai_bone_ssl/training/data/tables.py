"""CSV files read strictly: every complaint names the file and the line."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = ["Row", "Split", "invalid_data", "parse_flag", "parse_split", "read_rows", "read_table"]

Split = Literal["train", "valid"]

_SPLITS: Mapping[str, Split | None] = {"train": "train", "valid": "valid", "val": "valid", "": None}


class Row(NamedTuple):
    """One record of a CSV file."""

    where: str
    """Name of the file and number of the line, for errors."""
    values: Mapping[str, str]
    """Values by column."""

    def required(self, column: str) -> str:
        """Value of a column that may not be empty."""
        if not self.values[column]:
            raise invalid_data(f"{self.where}: {column} is empty, expected a value")
        return self.values[column]


def read_rows(path: Path) -> list[tuple[str, list[str]]]:
    """Records of a CSV file as (where, fields), blanks around fields removed, empty lines left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            reader = csv.reader(file, strict=True)
            return [
                (f"{path.name} line {reader.line_num}", [field.strip() for field in fields])
                for fields in reader
                if fields
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise invalid_data(f"{path.name}: expected a readable CSV file in UTF-8 ({error})") from error


def read_table(path: Path, required: Sequence[str]) -> list[Row]:
    """Records of a CSV file with a header line that has at least the ``required`` columns."""
    rows = read_rows(path)
    header = rows[0][1] if rows else []
    missing = [column for column in required if column not in header]
    if missing:
        raise invalid_data(
            f"{path.name}: missing columns {', '.join(missing)}; expected {','.join(required)}"
        )
    for where, fields in rows:
        if len(fields) != len(header):
            raise invalid_data(f"{where}: {len(fields)} fields, expected {len(header)} as in line 1")
    return [Row(where, dict(zip(header, fields, strict=True))) for where, fields in rows[1:]]


def parse_flag(text: str, column: str, where: str) -> int:
    """A 0 or a 1."""
    if text not in ("0", "1"):
        raise invalid_data(f"{where}: {column} is '{text}', expected 0 or 1")
    return int(text)


def parse_split(row: Row) -> Split | None:
    """The value of the column ``split`` where there is one: ``train``, ``valid`` (or ``val``), or empty."""
    split = row.values.get("split", "").lower()
    if split not in _SPLITS:
        raise invalid_data(f"{row.where}: split is '{split}', expected train, valid, val or nothing")
    return _SPLITS[split]


def invalid_data(text: str) -> ConfigError:
    """The error for a list or file: what stands there, and what was expected."""
    return ConfigError(ReasonCode.INVALID_DATA, text)
