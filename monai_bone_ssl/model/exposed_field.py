"""Exposed field of a radiograph: as the header declares it, else found in the pixels.

Behind the blades of a collimator hardly any X-rays arrive, so a border is shown as bright as metal. Anatomy
that touches the image's edge is as bright at most along a part of it, or ends softly or in a curve, or has a
marrow that is darker than its cortex. A border is cut off only where all of that holds; where in doubt, the
whole image is the field.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from monai_bone_ssl.dicom.collimation import ExposedField, Outline
from monai_bone_ssl.notes import Note, NoteCode

__all__ = ["exposed_field", "find_exposed_field"]

FloatArray = npt.NDArray[np.float32]

_LONG_SIDE = 512
"""Long side of the reduced image in which borders are looked for, in pixels; lengths below refer to it."""
_MAX_DEPTH = 0.4
"""Greatest depth of a border, as a share of the image: a narrow field has deep borders on both sides."""
_STEP = 4
"""Length of an edge across the border, in pixels: what falls more slowly is anatomy."""
_MIN_FALL = 0.25
"""Fall of the grey level at an edge, as a share of the image's range."""
_MIN_BRIGHT = 0.7
"""Grey level of a border before its edge, as a share of the image's range."""
_MAX_SLOPE = 0.15
"""Greatest slope of an edge against the image's side: 8.5 degrees."""
_TOLERANCE = 4.0
"""Greatest distance of an edge from its line, in pixels."""
_MIN_SUPPORT = 0.35
"""Share of the side along which edges must lie on one line; the rest may lie beside bright anatomy."""
_BRIGHT, _MIN_FILL = 0.7, 0.9
"""Grey level of a bright pixel, and the share of a border's pixels that must be bright."""
_PENUMBRA = 1.5
"""Distance from the line at which the field begins, in pixels."""

_MAX_SPREAD = 0.3
"""Greatest spread of grey levels outside a declared field, from the 2nd to the 98th percentile, as a share of
the image's range: behind a collimator or shutter everything is equally bright, or equally dark."""
_NOTED_SHARE = 0.01
"""Smallest share of an image outside the field that is worth a note."""


class _Line(NamedTuple):
    """Depth of a border along one side of the image, in pixels: ``depth + slope * position``."""

    depth: float
    slope: float


def exposed_field(pixels: FloatArray, declared: ExposedField | None, notes: list[Note]) -> ExposedField:
    """Decide which part of a radiograph X-rays reached.

    Parameters
    ----------
    pixels
        Radiograph [H, W] in [0, 1], bright = dense.
    declared
        Field that the header declares; None where it declares none.
    notes
        List that receives a note of a declared field that would cut off what looks exposed, and of the share
        of the image that is left out.

    Returns
    -------
    Declared field, where what lies outside looks unexposed; else the field between white borders.
    """
    field = declared
    if declared is not None and not _is_uniform_outside(pixels, declared):
        text = (
            "The pixels outside the collimator or shutter of the header look exposed: its edges were ignored"
        )
        notes.append(Note(NoteCode.COLLIMATION, text))
        field = None
    field = find_exposed_field(pixels) if field is None else field
    outside = 1 - float(field.mask(_LONG_SIDE, _LONG_SIDE).mean())
    if outside >= _NOTED_SHARE:
        text = f"{outside:.0%} of the image lies outside the exposed field and was left out"
        notes.append(Note(NoteCode.OUTSIDE_EXPOSED_FIELD, text))
    return field


def _is_uniform_outside(pixels: FloatArray, field: ExposedField) -> bool:
    reduced = _reduce(pixels)
    outside = reduced[~field.mask(*reduced.shape)]
    if outside.size == 0:
        return True
    low, high = np.percentile(reduced, (1, 99.9))
    darkest, brightest = np.percentile(outside, (2, 98))
    return bool(brightest - darkest <= _MAX_SPREAD * (high - low))


def find_exposed_field(pixels: FloatArray) -> ExposedField:
    """Cut unexposed borders off a radiograph.

    Parameters
    ----------
    pixels
        Radiograph [H, W] in [0, 1], bright = dense.

    Returns
    -------
    Field between the borders, in source pixels; the whole image where no border is certain.
    """
    reduced = _reduce(pixels)
    low, high = np.percentile(reduced, (1, 99.9))
    if high - low < 1 / 255:
        return ExposedField(pixels.shape)
    image = np.clip((reduced - low) / (high - low), 0, 1)
    # Each view has one side of the image as its first column: left, right, top, bottom.
    views = (image, image[:, ::-1], image.T, image[::-1].T)
    outlines = [_outline(side, _border(view), image.shape) for side, view in enumerate(views)]
    scale = np.divide(pixels.shape, image.shape)
    return ExposedField(pixels.shape, tuple(outline * scale for outline in outlines if outline is not None))


def _reduce(pixels: FloatArray) -> FloatArray:
    """Image with a long side of 512 pixels."""
    rows, columns = (max(1, round(side * _LONG_SIDE / max(pixels.shape))) for side in pixels.shape)
    reduced = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(reduced, np.float32)


def _border(view: FloatArray) -> _Line | None:
    """Line at which a border along the first column of a view [N, D] ends; None where there is no border."""
    length, full = view.shape
    position, depth = _edges(view[:, : int(full * _MAX_DEPTH) + 2 * _STEP])
    if position.size < _MIN_SUPPORT * length:
        return None
    near = _largest_group(position, depth)
    if np.count_nonzero(near) < _MIN_SUPPORT * length:
        return None
    slope, start = np.polyfit(position[near], depth[near], 1)
    line = _Line(float(start), float(slope))
    return line if _is_bright(view, line) else None


def _edges(strip: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Positions and depths, in pixels, at which a bright first part of a row falls steeply."""
    darkest = np.minimum.accumulate(strip, axis=1)  # from the image's side up to each pixel
    fall = np.where(darkest[:, :-_STEP] >= _MIN_BRIGHT, strip[:, :-_STEP] - strip[:, _STEP:], 0)
    rows = np.flatnonzero(fall.max(axis=1) > _MIN_FALL)
    start = fall[rows].argmax(axis=1)
    half = (strip[rows, start] + strip[rows, start + _STEP]) / 2
    depth = np.count_nonzero(darkest[rows] > half[:, None], axis=1)
    return (rows + 0.5).astype(np.float32), depth.astype(np.float32)


def _largest_group(position: FloatArray, depth: FloatArray) -> npt.NDArray[np.bool_]:
    """Edges near one straight line: of all slopes and depths, those of the line with the most edges."""
    best = np.zeros(position.size, np.bool_)
    for slope in np.linspace(-_MAX_SLOPE, _MAX_SLOPE, 31):
        start = depth - slope * position
        ordered = np.sort(start)
        counts = np.searchsorted(ordered, ordered + 2 * _TOLERANCE, side="right") - np.arange(start.size)
        first = ordered[counts.argmax()]
        near = (start >= first) & (start <= first + 2 * _TOLERANCE)
        if np.count_nonzero(near) > np.count_nonzero(best):
            best = near
    return best


def _is_bright(view: FloatArray, line: _Line) -> bool:
    """Whether nearly everything between the first column of a view and a line is bright."""
    length, full = view.shape
    depth = line.depth + line.slope * (np.arange(length) + 0.5)
    end = np.maximum(depth - _STEP / 2, depth / 2)  # before the edge's own fall
    border = view[np.arange(full) + 0.5 < end[:, None]]
    return border.size > 0 and bool(np.mean(border > _BRIGHT) > _MIN_FILL)


def _outline(side: int, line: _Line | None, shape: tuple[int, ...]) -> Outline | None:
    """Image [rows, columns] without a border, as a polygon; None without a border.

    Parameters
    ----------
    side
        Side of the image, 0 to 3: left, right, top, bottom.
    line
        End of the border, or None.
    shape
        Rows and columns of the image.
    """
    if line is None:
        return None
    length, full = shape if side < 2 else shape[::-1]
    start = line.depth + _PENUMBRA
    ends = np.array([(0, start), (length, start + line.slope * length), (length, full), (0, full)])
    if side % 2:
        ends[:, 1] = full - ends[:, 1]
    return ends if side < 2 else ends[:, ::-1]
