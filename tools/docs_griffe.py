"""Extension of griffe: docstrings as this package writes them, for mkdocstrings.

A numpy "Returns" section begins with a type. Ours often has words alone, because the signature has the type;
griffe would show the words as the type. And Sphinx's roles become code.
"""

from __future__ import annotations

import re
from textwrap import indent

from griffe import Extension, Function, Object

__all__ = ["PlainDocstrings"]

_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_RETURNS = re.compile(r"(Returns\n-------\n)((?:(?!\n\n\w+\n---)[\s\S])+)")


class PlainDocstrings(Extension):
    """Rewrites docstrings before they are parsed."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring is None:
            return
        text = _ROLE.sub(r"`\1`", obj.docstring.value)
        if isinstance(obj, Function) and obj.returns is not None:
            text = _RETURNS.sub(lambda found: found[1] + _typed(found[2], str(obj.returns)), text)
        obj.docstring.value = text


def _typed(words: str, returned: str) -> str:
    """A section's words under the type of the signature; unchanged where they are under one already."""
    has_type = re.match(r"\S.*\n    ", words)
    return words if has_type else f"{returned}\n{indent(words, '    ')}"
