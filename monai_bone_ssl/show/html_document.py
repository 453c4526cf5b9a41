"""HTML pages from templates: one file each, with its style and script inside, and no request to anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2

from monai_bone_ssl.files import atomic_file
from monai_bone_ssl.wording import counted

__all__ = ["write_html"]

# Pieces of a page that are written at once, about one card: few writes, and little memory.
_PIECES = 50


def write_html(path: Path, template: str, values: Mapping[str, object]) -> None:
    """Fill a template and write the page piece by piece, whole or not at all.

    Parameters
    ----------
    path
        HTML file to write; its folder is made where missing.
    template
        File name of a template among the package's resources, such as ``page.html``.
    values
        Values of the template's variables. Text is escaped, and characters that cannot be printed, such as
        control characters, bidirectional overrides that would disguise a file name, and undecodable bytes,
        are shown as U+FFFD. Iterators are read while the page is written.

    Raises
    ------
    ReportError
        If the file cannot be written.
    """
    with atomic_file(path) as file:
        stream = _environment().get_template(template).stream(values)
        stream.enable_buffering(_PIECES)
        stream.dump(file, encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("monai_bone_ssl", "resources"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
        auto_reload=False,
    )
    environment.globals["read"] = _read
    environment.filters |= {"base64": _base64, "counted": counted, "sha256": _sha256}
    return environment


def _printable(value: object) -> object:
    """What a template shows of a value; HTML that a template made (``__html__``) stays as it is."""
    if not isinstance(value, str) or hasattr(value, "__html__") or value.isprintable():
        return value
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


def _read(name: str) -> str:
    """A style sheet or script among the resources."""
    return resources.files("monai_bone_ssl").joinpath("resources", name).read_text(encoding="utf-8")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _sha256(text: str) -> str:
    """Digest by which a Content Security Policy names a style sheet or script."""
    return _base64(hashlib.sha256(text.encode()).digest())
