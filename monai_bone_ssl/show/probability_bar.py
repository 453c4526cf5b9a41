"""The probability on a bar from 0 to 1 with its three zones: what is where, and how pictures draw it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ImageDraw, ImageFont

from monai_bone_ssl.findings import Decision, OperatingPoints
from monai_bone_ssl.show.colours import DECISION_COLOURS, Colour

__all__ = ["ProbabilityBar", "draw_probability_bar"]

_POINTER_LINE: Colour = (16, 18, 22)


@dataclass(frozen=True)
class ProbabilityBar:
    """A bar with its ends; all places are in the unit of the ends."""

    probability: float
    """Probability that the pointer shows, 0 to 1."""
    points: OperatingPoints
    """Operating points between the zones."""
    start: float
    """Place of probability 0."""
    end: float
    """Place of probability 1."""

    def place(self, probability: float) -> float:
        """Place of a probability on the bar."""
        return self.start + probability * (self.end - self.start)

    @property
    def zones(self) -> tuple[tuple[Decision, float, float], ...]:
        """Each decision with the start and the end of its zone."""
        low, high = self.place(self.points.high_sensitivity), self.place(self.points.high_specificity)
        return (
            (Decision.NEGATIVE, self.start, low),
            (Decision.INDETERMINATE, low, high),
            (Decision.POSITIVE, high, self.end),
        )


def draw_probability_bar(
    draw: ImageDraw.ImageDraw, bar: ProbabilityBar, top: int, scale: float, ink: Colour, muted: Colour
) -> None:
    """Draw a bar into a picture; leave 34 pixels at either end for a number beside a point that lies there.

    Parameters
    ----------
    draw
        Drawing of the picture.
    bar
        Bar with its ends in pixels of the picture.
    top
        Upper edge of the zones, in pixels of the picture. The pointer and its number reach 36 pixels above,
        the numbers of the operating points 37 pixels below.
    scale
        Factor on these numbers of pixels.
    ink, muted
        Colours of the pointer with its number, and of the numbers of the operating points.
    """
    bottom, gap = top + 16 * scale, 2
    (_, _, low), (_, _, high), _ = zones = [(d, round(left), round(right)) for d, left, right in bar.zones]
    for decision, left, right in zones:
        draw.rectangle((left, top, max(left, right - gap), bottom), DECISION_COLOURS[decision])
    # Right- and left-aligned at their points, the two numbers cannot collide however close the points are.
    small, large = (ImageFont.load_default(size * scale) for size in (15, 18))
    below = bottom + 6 * scale
    draw.text((low - gap, below), f"{bar.points.high_sensitivity:.2f}", muted, small, anchor="ra")
    draw.text((high + gap, below), f"{bar.points.high_specificity:.2f}", muted, small, anchor="la")
    x, half, tip = round(bar.place(bar.probability)), 8 * scale, top - gap
    draw.polygon([(x - half, top - 15 * scale), (x + half, top - 15 * scale), (x, tip)], ink)
    draw.line((x, tip, x, bottom), _POINTER_LINE, 2)
    draw.text((x, top - 19 * scale), f"{bar.probability:.2f}", ink, large, anchor="ms")
