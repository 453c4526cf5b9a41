"""Exposed field of a radiograph, and what a header says of it: X-Ray collimator and display shutter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from monai_bone_ssl.dicom.header import readable_numbers, texts
from monai_bone_ssl.notes import Note, NoteCode

__all__ = ["ExposedField", "Outline", "declared_field"]

#: Vertices [n, 2] of a closed polygon in source pixels, row and column; an image spans 0 to its size.
Outline = npt.NDArray[np.floating]

_EDGES = ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")
_CIRCLE_VERTICES = 64
_MIN_SHARE = 0.2
"""Smallest share of the image that a declared field may cover; the numbers of a smaller one are wrong."""
_COARSE = 128
"""Rows and columns on which a declared field's share of the image is measured."""


@dataclass(frozen=True, eq=False)
class ExposedField:
    """Part of an image that X-rays reached: what all outlines enclose."""

    shape: tuple[int, int]
    """Rows and columns of the image, in source pixels."""
    outlines: tuple[Outline, ...] = ()
    """Polygons whose intersection is the field; without any, the field is the whole image."""

    def mask(self, rows: int, columns: int) -> npt.NDArray[np.bool_]:
        """Pixels of the image, resampled to a size, whose centres lie inside the field.

        Parameters
        ----------
        rows
            Rows of the resampled image.
        columns
            Columns of the resampled image.

        Returns
        -------
        Bool [rows, columns], True inside the field.
        """
        down = (np.arange(rows) + 0.5) * (self.shape[0] / rows)
        across = (np.arange(columns) + 0.5) * (self.shape[1] / columns)
        inside = np.ones((rows, columns), np.bool_)
        for outline in self.outlines:
            inside &= _enclosed(outline, down, across)
        return inside


def _enclosed(
    outline: Outline, down: npt.NDArray[np.floating], across: npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Points of a grid [rows, columns] inside a polygon: those with an odd number of edges to their right."""
    inside = np.zeros((down.size, across.size), np.bool_)
    for (row, column), (next_row, next_column) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        rows = np.flatnonzero((down >= row) != (down >= next_row))
        if rows.size == 0:
            continue
        crossing = column + (down[rows] - row) * ((next_column - column) / (next_row - row))
        inside[rows] ^= across < crossing[:, None]
    return inside


def declared_field(header: Dataset, notes: list[Note]) -> ExposedField | None:
    """Field inside the collimator and the display shutter of a header.

    Rows and columns of both modules are those of the stored image, from 1 on; edges, centres and vertices are
    pixels that belong to the field. Several shapes, and both modules, are intersected (PS3.3 C.7.6.11 Display
    Shutter module, C.8.7.3 X-Ray Collimator module). Edges may lie outside the image: they hide nothing.

    Parameters
    ----------
    header
        Header of the image, with Rows and Columns.
    notes
        List that receives a note for each shape that was ignored: an unknown one, one with missing numbers or
        edges in the wrong order, and one that leaves less than a fifth of the image.

    Returns
    -------
    Field that is declared; None where the header declares none that can be believed.

    Notes
    -----
    https://dicom.nema.org/medical/dicom/current/output/chtml/part03/sect_C.7.6.11.html and
    https://dicom.nema.org/medical/dicom/current/output/chtml/part03/sect_C.8.7.3.html
    """
    shape = (int(header.Rows), int(header.Columns))
    outlines: list[Outline] = []
    for device in ("Collimator", "Shutter"):
        for form in texts(header, f"{device}Shape"):
            outline = _outline(header, device, form)
            if outline is None or ExposedField(shape, (outline,)).mask(_COARSE, _COARSE).mean() < _MIN_SHARE:
                notes.append(_ignored(device, form))
            else:
                outlines.append(outline)
    field = ExposedField(shape, tuple(outlines))
    if field.mask(_COARSE, _COARSE).mean() < _MIN_SHARE:
        notes.append(Note(NoteCode.COLLIMATION, "Collimator and Shutter leave almost no image: ignored"))
        return None
    return field if outlines else None


def _ignored(device: str, form: str) -> Note:
    expected = "expected a shape that encloses at least a fifth of the image"
    return Note(NoteCode.COLLIMATION, f"{device} Shape {form[:16]!a} ignored: {expected}")


def _outline(header: Dataset, device: str, form: str) -> Outline | None:
    """Polygon of one shape; None where its numbers are missing, too few or contradictory."""
    if form == "RECTANGULAR":
        return _rectangle(header, device)
    if form == "CIRCULAR":
        return _circle(header, device)
    return _polygon(header, device) if form == "POLYGONAL" else None


def _rectangle(header: Dataset, device: str) -> Outline | None:
    edges = [_numbers(header, f"{device}{edge}Edge") for edge in _EDGES]
    if any(len(edge) != 1 for edge in edges):
        return None
    (upper,), (lower,), (left,), (right,) = edges
    if upper >= lower or left >= right:
        return None
    return np.array([(upper - 1, left - 1), (upper - 1, right), (lower, right), (lower, left - 1)])


def _circle(header: Dataset, device: str) -> Outline | None:
    centre = _numbers(header, f"CenterOfCircular{device}")
    radius = _numbers(header, f"RadiusOfCircular{device}")
    if len(centre) != 2 or len(radius) != 1 or radius[0] <= 0:
        return None
    angles = np.linspace(0, 2 * np.pi, _CIRCLE_VERTICES, endpoint=False)
    around = (radius[0] + 0.5) / np.cos(np.pi / _CIRCLE_VERTICES)  # the polygon encloses the circle
    outline: Outline = np.array(centre) - 0.5 + around * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    return outline


def _polygon(header: Dataset, device: str) -> Outline | None:
    coordinates = _numbers(header, f"VerticesOfThePolygonal{device}")
    if len(coordinates) < 6 or len(coordinates) % 2:
        return None
    return np.array(coordinates).reshape(-1, 2) - 0.5


def _numbers(header: Dataset, keyword: str) -> list[float]:
    """All values of an element; none where one of them is no finite number."""
    values = readable_numbers(header, keyword)
    finite = [value for value in values if value is not None]
    return finite if len(finite) == len(values) else []
