"""Files written whole or not at all, and a file system's refusals as one error."""

from __future__ import annotations

import csv
import io
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from monai_bone_ssl.errors import ReasonCode, ReportError

__all__ = ["atomic_file", "csv_bytes", "printable", "write_atomically", "writing"]

# First characters of a cell that spreadsheets calculate (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def printable(path: Path) -> str:
    """A path as JSON can hold it: bytes that are no UTF-8 are replaced."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes a file, or what belongs to one.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` with the path where the file system refuses.
    """
    try:
        yield
    except OSError as error:
        text = f"{path}: cannot be written ({error.strerror or error})"
        raise ReportError(ReasonCode.WRITE_FAILED, text) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, under another name until the block ends well; missing folders are made.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` if the file system refuses. No part of a file is left, nor after any other error.
    """
    writer = f"{os.getpid()}-{threading.get_ident()}"  # two threads may write the same name at the same time
    partial = path.with_name(f".{path.name}.{writer}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` if the file system refuses.
    """
    with atomic_file(path) as file:
        file.write(content)


def csv_bytes(header: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    """A table as CSV in UTF-8.

    Parameters
    ----------
    header
        Names of the columns.
    lines
        Values of each line, in the order of the header; None is an empty cell. Text that a spreadsheet would
        take for a formula gets a single quote in front, and its lines end in a line feed.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(map(_harmless, line) for line in lines)
    return text.getvalue().encode()


def _harmless(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")  # the csv module leaves a lone \r unquoted
    return f"'{text}" if text.startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(text) else text
