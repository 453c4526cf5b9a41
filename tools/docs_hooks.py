"""A hook of mkdocs for links that leave docs/."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

__all__ = ["on_page_markdown"]

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s:]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Keep the words of links to files of the checkout, which the site does not have."""
    docs = Path(config.docs_dir).resolve()
    here = (docs / page.file.src_uri).parent

    def inside_only(link: re.Match[str]) -> str:
        return link[0] if (here / link[2]).resolve().is_relative_to(docs) else link[1]

    return _LINK.sub(inside_only, markdown)
