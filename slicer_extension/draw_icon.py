"""Draw the extension's and the module's icon: a bone on a dark plate, and a warm patch where the evidence is.

Run it from anywhere; it writes the two PNG files beside this script.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

_SIDE = 128
_FINE = 8  # drawn that much larger, then reduced: smooth edges
_PLATE = (22, 26, 33)
_BONE = (226, 230, 236)
_GLOW = ((110, 30, 130, 150), (232, 88, 45, 200), (252, 235, 120, 255))  # the evidence's colours


def draw() -> Image.Image:
    """The icon, RGBA, 128 x 128."""
    side = _SIDE * _FINE

    def at(*values: float) -> tuple[float, ...]:
        return tuple(value * side for value in values)

    picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    plate = ImageDraw.Draw(picture)
    plate.rounded_rectangle(at(0.02, 0.02, 0.98, 0.98), radius=0.16 * side, fill=_PLATE)
    bone = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pen = ImageDraw.Draw(bone)
    pen.line(at(0.5, 0.24, 0.5, 0.76), fill=_BONE, width=round(0.15 * side))
    for x, y in ((0.415, 0.2), (0.585, 0.2), (0.415, 0.8), (0.585, 0.8)):
        pen.ellipse(at(x - 0.105, y - 0.105, x + 0.105, y + 0.105), fill=_BONE)
    picture.alpha_composite(bone.rotate(-35, resample=Image.Resampling.BICUBIC))
    glow = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    light = ImageDraw.Draw(glow)
    for radius, colour in zip((0.17, 0.115, 0.06), _GLOW, strict=True):
        light.ellipse(at(0.545 - radius, 0.43 - radius, 0.545 + radius, 0.43 + radius), fill=colour)
    picture.alpha_composite(glow.filter(ImageFilter.GaussianBlur(0.012 * side)))
    return picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    folder = Path(__file__).parent
    icon = draw()
    icon.save(folder / "BoneXRayReview.png", optimize=True)
    icon.save(folder / "BoneXRayReview" / "Resources" / "Icons" / "BoneXRayReview.png", optimize=True)
