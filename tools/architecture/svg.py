"""Boxes, arrows and words as an SVG, on white, so that a dark page shows them too."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

__all__ = ["LINE", "Drawing"]

#: Distance between two lines of text, in pixels.
LINE = 18

_STYLE = """
  text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif; fill: #1b2a33; }
  .strong { font-weight: 600; }
  .code { font: 11.5px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #44606e; }
  .box { fill: #eef3f5; stroke: #7c97a3; }
  .line { fill: none; stroke: #44606e; stroke-width: 1.3; marker-end: url(#tip); }
  .bracket { fill: none; stroke: #b08a4a; stroke-width: 1.6; }
"""


@dataclass
class Drawing:
    """A picture that grows by one element at a time."""

    width: float
    """In pixels."""
    height: float
    """In pixels."""
    title: str
    """What the picture shows, for those who hear it."""
    elements: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, style: str = "", anchor: str = "start") -> None:
        """Write one line with its baseline at ``y``."""
        self.elements.append(
            f'<text x="{x:g}" y="{y:g}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def upwards(self, x: float, y: float, words: str, style: str) -> None:
        """Write one line that is read from below, with its middle at ``x``, ``y``."""
        turned = f"translate({x:g},{y:g}) rotate(-90)"
        self.elements.append(
            f'<text class="{style}" text-anchor="middle" transform="{turned}">{escape(words)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float) -> None:
        """Draw a rectangle with its top left corner at ``x``, ``y``."""
        self.elements.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" class="box"/>'
        )

    def path(self, points: str, style: str) -> None:
        """Draw a line, its points as SVG's attribute ``d`` has them."""
        self.elements.append(f'<path d="{points}" class="{style}"/>')

    def render(self) -> str:
        """The SVG as text."""
        tip = '<path d="M0,0 L8,4 L0,8 z" fill="#44606e"/>'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
                f'width="{self.width:g}" height="{self.height:g}" role="img">',
                f"<title>{escape(self.title)}</title>",
                f"<style>{_STYLE}</style>",
                '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="8" refY="4" orient="auto">'
                f"{tip}</marker></defs>",
                '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>',
                *self.elements,
                "</svg>\n",
            ]
        )
