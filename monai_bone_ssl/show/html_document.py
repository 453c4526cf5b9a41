"""What every HTML page of this package is: one file, one style, no network, and nothing in it that acts."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from importlib import resources

__all__ = ["clean", "document_head", "read_resource"]


def clean(text: str) -> str:
    """Escaped for HTML. What cannot be printed, such as control characters, bidirectional overrides that
    would disguise a file name, and undecodable bytes, is shown as U+FFFD.
    """
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def document_head(title: str, css: str, script: str = "") -> str:
    """Beginning of a page up to its body.

    Parameters
    ----------
    title
        Plain text.
    css, script
        What the page embeds; the caller writes the script at the page's end. Nothing else may run or load.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(css, script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{clean(title)}</title>
<style>{css}</style>
</head>
"""


@cache
def read_resource(name: str) -> str:
    """A style sheet or script that comes with the package."""
    return resources.files("monai_bone_ssl").joinpath("resources", name).read_text(encoding="utf-8")


def _policy(css: str, script: str) -> str:
    """Content Security Policy (https://www.w3.org/TR/CSP3/): this style, this script, embedded pictures."""
    scripts = f"script-src 'sha256-{_digest(script)}'; " if script else ""
    return (
        f"default-src 'none'; style-src 'sha256-{_digest(css)}'; {scripts}"
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
