"""Messages of the panel, errors among them: one line that names the cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

import slicer.util

__all__ = ["LOST", "TITLE", "count", "in_words", "reporting", "say"]

#: Message after a crash in the middle of a save.
LOST = "Slicer ended while it was saving, and what it was saving is lost. Check the verdict on this image."

#: Title of the module and of its dialogs.
TITLE = "Bone X-ray Review"

_ERROR_STYLE = "color: #d9534f; font-weight: bold;"


def say(label: Any, text: str, error: bool = False) -> None:
    """Write a line into a label; an empty line hides the label."""
    label.text = text
    label.styleSheet = _ERROR_STYLE if error else ""
    label.visible = bool(text)


@contextmanager
def reporting(label: Any) -> Iterator[None]:
    """Write an error of the package into a label; an error that could lose a verdict also opens a dialog."""
    from monai_bone_ssl.errors import BoneSSLError, ReportError

    say(label, "")
    try:
        yield
    except BoneSSLError as error:
        say(label, error.text, error=True)
        if isinstance(error, ReportError):
            slicer.util.errorDisplay(error.text, windowTitle=TITLE)


def in_words(value: Enum) -> str:
    """Write a value of the package in words, such as ``bad image``."""
    return str(value.value).replace("_", " ")


def count(number: int, one: str, many: str = "") -> str:
    """Write a number of things, such as ``2 studies``."""
    return f"{number} {one if number == 1 else many or one + 's'}"
