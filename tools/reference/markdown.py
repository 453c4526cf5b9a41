"""Words and tables in Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

__all__ = ["code", "table", "words"]

_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_SECTION = re.compile(r"\n\n\w+\n---")
# The design's names of the formats say nothing to those who only use them.
_CONTRACT = re.compile(r" \(contract C\d\)")


def words(docstring: str | None) -> str:
    """A docstring up to its first numpy section, as one line: Sphinx's roles and literals as code."""
    text = _SECTION.split(inspect.cleandoc(docstring or ""))[0]
    return " ".join(_ROLE.sub(r"`\1`", _CONTRACT.sub("", text)).replace("``", "`").split())


def code(value: object) -> str:
    """A value as code."""
    return f"`{value}`"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )
