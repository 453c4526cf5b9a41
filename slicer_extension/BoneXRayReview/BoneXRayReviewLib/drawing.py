"""The panel's small pictures, as PNG: probability against the operating points, and the colour legend."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monai_bone_ssl.findings import Decision, OperatingPoints
from monai_bone_ssl.show.colours import DECISION_COLOURS, colour_table

__all__ = ["SCALE", "colour_legend", "probability_bar"]

#: Pixels of the pictures for one of the panel: sharp on a screen with dense pixels.
SCALE = 2

_INK = (125, 131, 140)  # read on a light panel as well as on a dark one
_MARKER = (110, 116, 126)


def probability_bar(probability: float, points: OperatingPoints, width: int = 320) -> bytes:
    """Draw a line from 0 to 1 with the three zones, the two points between them, and the probability.

    Parameters
    ----------
    probability, points
        Of the image and its body part.
    width
        In pixels of the panel; it is 46 high.
    """
    picture = Image.new("RGBA", (width * SCALE, 46 * SCALE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    start, end = 18 * SCALE, (width - 18) * SCALE
    top, bottom = 20 * SCALE, 30 * SCALE

    def at(value: float) -> int:
        return start + round(min(max(value, 0.0), 1.0) * (end - start))

    low, high = at(points.high_sensitivity), at(points.high_specificity)
    zones = (
        (Decision.NEGATIVE, start, low),
        (Decision.INDETERMINATE, low, high),
        (Decision.POSITIVE, high, end),
    )
    for decision, left, right in zones:
        if right > left:
            draw.rectangle((left, top, max(left, right - SCALE), bottom), DECISION_COLOURS[decision])
    # Aligned away from each other, the two numbers cannot collide however close the points are.
    font = _font(11)
    draw.text((low, bottom + 3 * SCALE), f"{points.high_sensitivity:.2f}", _INK, font, anchor="ra")
    draw.text((high + SCALE, bottom + 3 * SCALE), f"{points.high_specificity:.2f}", _INK, font, anchor="la")
    x, half = at(probability), 5 * SCALE
    draw.polygon([(x - half, top - 7 * SCALE), (x + half, top - 7 * SCALE), (x, top)], _MARKER)
    draw.line((x, top, x, bottom), (16, 18, 22), SCALE)
    place = min(max(x, 16 * SCALE), (width - 16) * SCALE)
    draw.text((place, top - 8 * SCALE), f"{probability:.2f}", _INK, _font(12), anchor="ms")
    return _png(picture)


def colour_legend(limit: float, width: int = 190) -> bytes:
    """Draw the evidence colours from 0 to the limit, in logit a patch; 28 pixels of the panel high."""
    colours = np.rint(colour_table()[:, :3] * 255).astype(np.uint8)[None]
    picture = Image.new("RGBA", (width * SCALE, 28 * SCALE), (0, 0, 0, 0))
    start, end = 8 * SCALE, (width - 18) * SCALE
    ramp = Image.fromarray(colours).resize((end - start, 10 * SCALE), Image.Resampling.BILINEAR)
    picture.paste(ramp, (start, 2 * SCALE))
    draw = ImageDraw.Draw(picture)
    for share, text in ((0.0, "0"), (0.5, f"{limit / 2:.2g}"), (1.0, f"{limit:.2g}+")):
        place = (start + share * (end - start), 15 * SCALE)
        draw.text(place, text, _INK, _font(11), anchor="ma")
    return _png(picture)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
