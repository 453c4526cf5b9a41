"""Grids of small images with captions: people would rather look than read."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monai_bone_ssl.errors import CorruptImage, UnsupportedImage
from monai_bone_ssl.training.data.check import DataCheck, ProblemKind
from monai_bone_ssl.training.data.dataset import LabelledDataset, LabelledImage
from monai_bone_ssl.training.data.image_files import read_grey
from monai_bone_ssl.wording import counted

__all__ = ["problem_sheet", "sample_sheet"]

_COLUMNS = 10
_TILE = 150
_CAPTION, _HEADING, _GAP = 16, 30, 6
_ROWS_A_PROBLEM = 2
_BACKGROUND, _TEXT, _DIM, _EMPTY = 255, 0, 90, 225


# Images by heading, each after its caption.
_Sections = dict[str, list[tuple[str, LabelledImage]]]


def sample_sheet(dataset: LabelledDataset) -> bytes:
    """PNG with one row for each part and label, whose images are spread evenly over the list."""
    cells: dict[tuple[str, int], list[LabelledImage]] = defaultdict(list)
    for image in dataset.images:
        cells[image.part, image.label].append(image)
    sections: _Sections = {}
    for (part, label), images in sorted(cells.items()):
        chosen = np.linspace(0, len(images) - 1, min(_COLUMNS, len(images))).round().astype(int)
        heading = f"{part}, {('negative', 'positive')[label]} ({counted(len(images), 'image')})"
        sections[heading] = [(_short(images[i].name), images[i]) for i in chosen]
    return _sheet(sections)


def problem_sheet(check: DataCheck, dataset: LabelledDataset) -> bytes | None:
    """PNG with the first images of every kind of problem, without notes; None where there are none.

    Images of one problem stand side by side and carry the problem's number in ``problems.csv``.
    """
    by_name = {image.name: image for image in dataset.images}
    sections: _Sections = {}
    for kind in ProblemKind:
        shown = [
            (f"{number}: {_short(name)}", by_name[name])
            for number, problem in enumerate(check.problems, start=1)
            if problem.kind is kind and not problem.note
            for name in problem.images
        ]
        if shown:
            first = shown[: _COLUMNS * _ROWS_A_PROBLEM]
            sections[f"{kind.replace('_', ' ')}: {len(first)} of {counted(len(shown), 'image')}"] = first
    return _sheet(sections) if sections else None


def _sheet(sections: _Sections) -> bytes:
    heights = [_HEADING + -(-len(images) // _COLUMNS) * (_TILE + _CAPTION) for images in sections.values()]
    width = _GAP + _COLUMNS * (_TILE + _GAP)
    sheet = Image.new("L", (width, sum(heights) + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    top = 0
    for (heading, images), height in zip(sections.items(), heights, strict=True):
        draw.text((_GAP, top + 8), heading, _TEXT, ImageFont.load_default(15))
        for i, (caption, image) in enumerate(images):
            left = _GAP + i % _COLUMNS * (_TILE + _GAP)
            upper = top + _HEADING + i // _COLUMNS * (_TILE + _CAPTION)
            sheet.paste(_tile(image.path), (left, upper))
            draw.text((left, upper + _TILE + 2), caption, _DIM, ImageFont.load_default(10))
        top += height
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _tile(path: Path) -> Image.Image:
    """The image as the file has it, its aspect kept; an empty tile where the file cannot be read."""
    tile = Image.new("L", (_TILE, _TILE), _EMPTY)
    try:
        pixels = read_grey(path)
    except (CorruptImage, UnsupportedImage):
        ImageDraw.Draw(tile).text((8, 8), "not readable", _DIM, ImageFont.load_default(12))
        return tile
    picture = Image.fromarray((pixels * 255).round().astype(np.uint8))
    picture.thumbnail((_TILE, _TILE))
    tile.paste(picture, ((_TILE - picture.width) // 2, (_TILE - picture.height) // 2))
    return tile


def _short(name: str) -> str:
    """As much of a name's end as fits under a tile."""
    return name if len(name) <= 26 else f"...{name[-23:]}"
