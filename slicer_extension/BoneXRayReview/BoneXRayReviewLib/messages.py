"""What the panel tells the reader, and what went wrong: one line that names the cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import slicer.util

__all__ = ["TITLE", "reporting", "say"]

#: Of the module and its dialogs.
TITLE = "Bone X-ray Review"

_ERROR_STYLE = "color: #d9534f; font-weight: bold;"


def say(label: Any, text: str, error: bool = False) -> None:
    """Write a line into a label; nothing hides it."""
    label.text = text
    label.styleSheet = _ERROR_STYLE if error else ""
    label.visible = bool(text)


@contextmanager
def reporting(label: Any) -> Iterator[None]:
    """Write an error of the package into a label; one that could lose a verdict also opens a dialog."""
    from monai_bone_ssl.errors import BoneSSLError, ReportError

    say(label, "")
    try:
        yield
    except BoneSSLError as error:
        say(label, error.text, error=True)
        if isinstance(error, ReportError):
            slicer.util.errorDisplay(error.text, windowTitle=TITLE)
