"""The panel's small pictures, as PNG: probability against the operating points, and the colour legend."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.show.colours import colour_table
from monai_bone_ssl.show.probability_bar import ProbabilityBar, draw_probability_bar

__all__ = ["SCALE", "colour_legend", "probability_bar"]

#: Pixels of the pictures for one of the panel: sharp on a screen with dense pixels.
SCALE = 2

_INK = (125, 131, 140)  # read on a light panel as well as on a dark one
_MARKER = (110, 116, 126)


def probability_bar(probability: float, points: OperatingPoints, width: int = 320) -> bytes:
    """Draw the probability bar.

    Parameters
    ----------
    probability
        Probability of the image, 0 to 1.
    points
        Operating points of the image's body part.
    width
        Width in pixels of the panel; the picture is 52 high.
    """
    picture = Image.new("RGBA", (width * SCALE, 52 * SCALE), (0, 0, 0, 0))
    bar = ProbabilityBar(probability, points, 18 * SCALE, (width - 18) * SCALE)
    draw_probability_bar(ImageDraw.Draw(picture), bar, 25 * SCALE, 0.7 * SCALE, _MARKER, _INK)
    return _png(picture)


def colour_legend(width: int = 190) -> bytes:
    """Draw the colours of probabilities from 0 to 1; 28 pixels of the panel high."""
    colours = np.rint(colour_table()[:, :3] * 255).astype(np.uint8)[None]
    picture = Image.new("RGBA", (width * SCALE, 28 * SCALE), (0, 0, 0, 0))
    start, end = 8 * SCALE, (width - 18) * SCALE
    ramp = Image.fromarray(colours).resize((end - start, 10 * SCALE), Image.Resampling.BILINEAR)
    picture.paste(ramp, (start, 2 * SCALE))
    draw = ImageDraw.Draw(picture)
    for share, text in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        place = (start + share * (end - start), 15 * SCALE)
        draw.text(place, text, _INK, _font(11), anchor="ma")
    return _png(picture)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
