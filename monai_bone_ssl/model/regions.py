"""From patch scores to the regions that readers see: rectangles, non-overlapping, with two certainties."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import Region

__all__ = ["MOST_REGIONS", "find_regions"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Most regions of one image: more would be noise to a reader, and a loop without an end.
MOST_REGIONS = 8

# A region grows from its highest patch over neighbours whose probability is at least this share of its own.
_GROWTH = 0.5


def find_regions(
    probabilities: FloatArray, shape: tuple[int, ...], possible: float, certain: float
) -> tuple[Region, ...]:
    """The rectangles around patches that reach the operating point ``possible``, the highest first.

    Each region grows from the highest patch that no region holds yet, over neighbours (of eight) whose
    probability reaches ``possible`` and half of the highest patch's. A rectangle that would overlap an
    earlier one is left out: what it marks is beside a stronger sign.

    Parameters
    ----------
    probabilities
        Probability of each patch [h, w], 0 to 1; the patches cover the image from edge to edge.
    shape
        Rows and columns of the source image.
    possible, certain
        Patch operating points: probabilities, 0 to 1, from which on a region is drawn, and is certain.

    Returns
    -------
    At most :data:`MOST_REGIONS` regions, in source pixels.
    """
    left = probabilities >= possible
    taken = np.zeros_like(left)
    regions: list[Region] = []
    while left.any() and len(regions) < MOST_REGIONS:
        row, column = np.unravel_index(int(np.where(left, probabilities, -1.0).argmax()), left.shape)
        highest = float(probabilities[row, column])
        grown = _grow(left & (probabilities >= _GROWTH * highest), int(row), int(column))
        left &= ~grown
        rows, columns = _extent(grown, axis=1), _extent(grown, axis=0)
        if not taken[rows, columns].any():
            taken[rows, columns] = True
            regions.append(_region(rows, columns, left.shape, shape, highest, certain))
    return tuple(regions)


def _grow(allowed: BoolArray, row: int, column: int) -> BoolArray:
    """Patches [h, w] that are connected with one patch over allowed ones; it ends after h * w steps."""
    grown = np.zeros_like(allowed)
    grown[row, column] = True
    while True:
        padded = np.pad(grown, 1)
        spread = np.logical_or.reduce(
            [padded[i : i + grown.shape[0], j : j + grown.shape[1]] for i in range(3) for j in range(3)]
        )
        spread &= allowed
        if (spread == grown).all():
            return grown
        grown = spread


def _extent(grown: BoolArray, axis: int) -> slice:
    """The shortest slice across an axis that holds every True."""
    places = np.flatnonzero(grown.any(axis=axis))
    return slice(int(places[0]), int(places[-1]) + 1)


def _region(
    rows: slice,
    columns: slice,
    grid: tuple[int, ...],
    shape: tuple[int, ...],
    probability: float,
    certain: float,
) -> Region:
    top, bottom = (round(edge * shape[0] / grid[0]) for edge in (rows.start, rows.stop))
    left, right = (round(edge * shape[1] / grid[1]) for edge in (columns.start, columns.stop))
    return Region(
        row=top,
        column=left,
        height=max(1, bottom - top),
        width=max(1, right - left),
        probability=probability,
        certainty="certain" if probability >= certain else "possible",
    )
