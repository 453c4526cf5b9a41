"""A page as a parser sees it, well-formed or refused."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

_VOID = ("br", "circle", "img", "link", "meta", "path", "rect")


class HtmlPage(HTMLParser):
    """Tags with their attributes, the text that is shown, and what styles and scripts stand in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.inline = {"script": "", "style": ""}
        self.stack: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.stack == [], "not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] in self.inline:
            self.inline[self.stack[-1]] += data
        else:
            self.text += data

    def attributes(self, tag: str) -> list[dict[str, Any]]:
        """Attributes of every tag of a name."""
        return [attributes for name, attributes in self.tags if name == tag]
