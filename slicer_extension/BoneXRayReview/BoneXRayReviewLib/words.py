"""Small words of the panel's tables and messages."""

from __future__ import annotations

from enum import Enum

__all__ = ["count", "in_words"]


def in_words(value: Enum) -> str:
    """One of the package's answers, such as ``bad image``."""
    return str(value.value).replace("_", " ")


def count(number: int, one: str, many: str = "") -> str:
    """A number of things, such as ``2 studies``."""
    return f"{number} {one if number == 1 else many or one + 's'}"
