"""An answer as a picture: the radiograph untouched, beside it evidence and regions, below it the words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import (
    UNVERIFIED,
    Answered,
    OperatingPoints,
    Region,
    describe_body_part,
    describe_image,
)
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.show.colours import DECISION_COLOURS, Colour, colour_evidence
from monai_bone_ssl.show.overlay_file import attach_thumbnail
from monai_bone_ssl.show.probability_bar import ProbabilityBar, draw_probability_bar

__all__ = ["draw_overlay"]

Floats = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]

# Dark as a reading room: a bright frame would spoil the eye's adaptation to the radiograph.
_BACKGROUND: Colour = (16, 18, 22)
_RULE: Colour = (58, 63, 72)
_TEXT: Colour = (236, 239, 243)
_MUTED: Colour = (160, 168, 178)

_PANEL = (800, 900)  # largest width and height of one of the two pictures: both fit on a screen
_MAX_ENLARGEMENT = 3.0  # more would add nothing but blur to a small image
_MIN_COLUMN = 200  # so that the heading above a narrow picture has room
_MIN_CONTENT = 250  # so that the colour bar beside a flat picture can be read
_MIN_WIDTH = 1040  # so that the caption has room
_MARGIN = 28
_HEADING = 34
_SCALE = 112  # width of the colour bar with its numbers
_CAPTION = 156

# Lines of a frame from the outside in, each one pixel wide: white between dark, to show on bone and on air.
_FRAME: tuple[Colour, ...] = ((0, 0, 0), (255, 255, 255), (255, 255, 255), (0, 0, 0))
_DASH, _GAP = 9, 7  # pixels


class _Layout(NamedTuple):
    """Boxes of all parts, in pixels of the picture: left, top, right, bottom."""

    size: tuple[int, int]
    plain: Box
    coloured: Box
    scale: Box
    caption: Box


def draw_overlay(
    pixels: Floats,
    evidence: Floats,
    finding: Answered,
    points: OperatingPoints,
    spec: ModelSpec,
) -> Image.Image:
    """Draw radiograph, evidence, regions and answer of one analysed image.

    A region that is certain has a solid frame, one that is possible a dashed one; beside it stands its
    probability.

    Parameters
    ----------
    pixels
        Radiograph [H, W] in [0, 1], bright = dense.
    evidence
        Probability of each patch that it shows the target [h, w], 0 to 1; the patches cover the radiograph
        from edge to edge.
    finding
        Finding of the image; its regions are in pixels of ``pixels``.
    points
        Operating points of the image's body part.
    spec
        Specification of the model: target, name and version are written.

    Returns
    -------
    RGB image. Each of the two pictures is at most 800 x 900 pixels, with the radiograph's aspect.

    Raises
    ------
    ReportError
        ``REPORT_FAILED`` where the arrays are not finite and two-dimensional, or a region lies outside the
        image.
    """
    _check(pixels, evidence, finding.regions)
    layout = _arrange(*pixels.shape)
    picture = Image.new("RGB", layout.size, _BACKGROUND)
    grey = _resample(pixels, layout.plain)
    values = _interpolate(evidence, *grey.shape)
    picture.paste(Image.fromarray(_to_bytes(grey)), layout.plain[:2])
    coloured = Image.fromarray(_to_bytes(colour_evidence(grey, values)))
    for region in finding.regions:
        _draw_region(coloured, region, pixels.shape)
    picture.paste(coloured, layout.coloured[:2])
    draw = ImageDraw.Draw(picture)
    draw.text((layout.plain[0], layout.plain[1] - 12), "Radiograph", _MUTED, _font(17), anchor="ls")
    heading = (layout.coloured[0], layout.coloured[1] - 12)
    draw.text(heading, _latin(f"Evidence for {spec.target.name}"), _MUTED, _font(17), anchor="ls")
    _draw_scale(picture, layout.scale)
    note = "Colour: interpolated between patch centres."
    if finding.regions:
        note += " Frames: regions and their probability, solid = certain, dashed = possible."
    _draw_caption(draw, layout.caption, finding, spec, note)
    left, top, right, _ = layout.caption
    bar = ProbabilityBar(finding.probability, points, right - (right - left) * 43 // 100 + 34, right - 34)
    draw_probability_bar(draw, bar, top + 54, 1, _TEXT, _MUTED)
    _draw_zone_names(draw, bar, top + 116)
    attach_thumbnail(picture, coloured)
    return picture


def _check(pixels: Floats, evidence: Floats, regions: Sequence[Region]) -> None:
    for name, array in (("pixels", pixels), ("evidence", evidence)):
        if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all():
            raise ReportError(
                ReasonCode.REPORT_FAILED,
                f"{name} must be finite and [rows, columns], got shape {array.shape}",
            )
    rows, columns = pixels.shape
    for region in regions:
        lowest, rightmost = region.row + region.height, region.column + region.width
        if min(region.row, region.column) < 0 or lowest > rows or rightmost > columns:
            text = f"{region} is outside the image of shape {pixels.shape}"
            raise ReportError(ReasonCode.REPORT_FAILED, text)


def _arrange(rows: int, columns: int) -> _Layout:
    scale = min(_PANEL[0] / columns, _PANEL[1] / rows, _MAX_ENLARGEMENT)
    width, height = max(1, round(columns * scale)), max(1, round(rows * scale))
    column, content = max(width, _MIN_COLUMN), max(height, _MIN_CONTENT)
    total = max(_MIN_WIDTH, 2 * column + _SCALE + 4 * _MARGIN)
    left = (total - 2 * column - _SCALE - 2 * _MARGIN) // 2
    right = left + column + _MARGIN
    top = _MARGIN + _HEADING
    bar_left = right + width + _MARGIN
    bottom = top + content + _MARGIN
    return _Layout(
        size=(total, bottom + _CAPTION),
        plain=(left, top, left + width, top + height),
        coloured=(right, top, right + width, top + height),
        scale=(bar_left, top, bar_left + _SCALE, top + min(content, 420)),
        caption=(_MARGIN, bottom, total - _MARGIN, bottom + _CAPTION),
    )


def _resample(pixels: Floats, box: Box) -> Floats:
    size = (box[2] - box[0], box[3] - box[1])
    image = Image.fromarray(np.clip(pixels, 0, 1).astype(np.float32))
    return np.clip(np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32), 0, 1)


def _interpolate(evidence: Floats, rows: int, columns: int) -> Floats:
    """Evidence at every pixel: bilinear between patch centres.

    Squares would draw edges into the anatomy that are not there. Bilinear keeps each patch's own value at
    its centre and, unlike cubic, never shows more than the largest patch has.
    """
    by_row = _bilinear_weights(rows, evidence.shape[0])
    by_column = _bilinear_weights(columns, evidence.shape[1])
    return np.asarray(by_row @ evidence @ by_column.T, dtype=np.float32)


def _bilinear_weights(n_pixels: int, n_patches: int) -> Floats:
    """Weights [n_pixels, n_patches] whose rows sum to 1; constant beyond the outermost centres."""
    centres = (np.arange(n_pixels) + 0.5) * n_patches / n_pixels - 0.5
    distance = np.abs(np.clip(centres, 0, n_patches - 1)[:, None] - np.arange(n_patches))
    return np.asarray(np.maximum(0, 1 - distance), dtype=np.float32)


def _to_bytes(values: Floats) -> npt.NDArray[np.uint8]:
    return np.rint(values * 255).astype(np.uint8)


def _draw_scale(picture: Image.Image, box: Box) -> None:
    left, top, _, bottom = box
    width = 16
    height = bottom - top
    ramp = np.repeat(np.linspace(1, 0, height, dtype=np.float32)[:, None], width, axis=1)
    shades = colour_evidence(np.full_like(ramp, 0.45), ramp)  # as it looks over a middle grey
    picture.paste(Image.fromarray(_to_bytes(shades)), (left, top))
    draw = ImageDraw.Draw(picture)
    for share, label in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        y = bottom - 1 - round(share * (height - 1))
        draw.line((left + width, y, left + width + 5, y), _MUTED)
        draw.text((left + width + 10, y), label, _MUTED, _font(15), anchor="lm")
    title = Image.new("RGB", (height, 20), _BACKGROUND)
    ImageDraw.Draw(title).text((height / 2, 10), "probability per patch", _MUTED, _font(15), anchor="mm")
    picture.paste(title.rotate(90, expand=True), (left + width + 62, top))


def _draw_region(picture: Image.Image, region: Region, shape: tuple[int, ...]) -> None:
    """Frame a region of the radiograph, and write its probability above or, without room, below."""
    tall, wide = picture.height / shape[0], picture.width / shape[1]
    left = max(0, round(region.column * wide) - len(_FRAME))
    top = max(0, round(region.row * tall) - len(_FRAME))
    right = min(picture.width, round((region.column + region.width) * wide) + len(_FRAME))
    bottom = min(picture.height, round((region.row + region.height) * tall) + len(_FRAME))
    frame = _frame(right - left, bottom - top, dashed=region.certainty == "possible")
    picture.paste(frame, (left, top), frame)
    above = top > 22
    place = (min(left + 2, picture.width - 40), top - 3 if above else bottom + 3)
    ImageDraw.Draw(picture).text(
        place,
        f"{region.probability:.2f}",
        _FRAME[1],
        _font(16),
        anchor="ls" if above else "la",
        stroke_width=2,
        stroke_fill=_FRAME[0],
    )


def _frame(width: int, height: int, *, dashed: bool) -> Image.Image:
    """A frame on nothing, of an outer size in pixels."""
    frame = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(frame)
    for inset, colour in enumerate(_FRAME[: (min(width, height) + 1) // 2]):
        draw.rectangle((inset, inset, width - 1 - inset, height - 1 - inset), outline=colour)
    if dashed:
        drawn = np.add.outer(np.arange(height), np.arange(width)) % (_DASH + _GAP) < _DASH
        frame.putalpha(Image.fromarray(np.asarray(frame.getchannel("A")) * drawn))
    return frame


def _draw_caption(draw: ImageDraw.ImageDraw, box: Box, finding: Answered, spec: ModelSpec, note: str) -> None:
    left, top, right, _ = box
    room = (right - left) * 54 // 100
    draw.line((left, top, right, top), _RULE)
    draw.rectangle((left, top + 24, left + 5, top + 54), DECISION_COLOURS[finding.decision])
    _draw_line(draw, (left + 18, top + 48), describe_image(finding, spec.target), _TEXT, 27, room - 18)
    origin = f"Body part {describe_body_part(finding.body_part)}   ·   Model {spec.name} {spec.version}"
    _draw_line(draw, (left, top + 82), origin, _MUTED, 16, room)
    _draw_line(draw, (left, top + 108), UNVERIFIED, _TEXT, 16, room)
    _draw_line(draw, (left, top + 132), note, _MUTED, 14, room)


def _draw_zone_names(draw: ImageDraw.ImageDraw, bar: ProbabilityBar, y: int) -> None:
    """Names of the zones, each in its colour; the middle one under its zone as far as the others let it."""
    font, gap = _font(15), 18
    (first, *_), (second, low, high), (third, *_) = bar.zones
    half = draw.textlength(second, font) / 2
    lowest = bar.start + draw.textlength(first, font) + gap + half
    highest = bar.end - draw.textlength(third, font) - gap - half
    middle = min(max((low + high) / 2, lowest), highest)
    for x, anchor, decision in ((bar.start, "ls", first), (middle, "ms", second), (bar.end, "rs", third)):
        draw.text((x, y), decision, DECISION_COLOURS[decision], font, anchor=anchor)


def _draw_line(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, colour: Colour, size: int, room: float
) -> None:
    """Draw one line of text on its baseline; text that is too long is set smaller, then cut."""
    text = _latin(text)
    while size > 11 and draw.textlength(text, _font(size)) > room:
        size -= 1
    if draw.textlength(text, _font(size)) > room:
        fitting = (n for n in range(len(text), 0, -1) if draw.textlength(text[:n] + "…", _font(size)) <= room)
        text = text[: next(fitting, 0)] + "…"
    draw.text(place, text, colour, _font(size), anchor="ls")


def _latin(text: str) -> str:
    """Replace characters that Pillow's own font lacks: a question mark is better than an empty box."""
    return "".join(c if c.isascii() or c == "·" else "?" for c in text)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
