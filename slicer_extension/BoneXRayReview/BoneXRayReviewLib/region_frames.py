"""Regions that the algorithm found, as frames over the radiograph.

The frames are a model node of line segments, and no markups: a reader cannot move one, or take one for an own
mark, and the scene does not save them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from BoneXRayReviewLib.geometry import ImageGeometry

if TYPE_CHECKING:
    from monai_bone_ssl.findings import Region

__all__ = ["add_region_frames"]

NODE_NAME = "Regions (AI, unverified)"
COLOUR = (0.55, 1.0, 0.25)  # neither the evidence nor the reader's marks have it

# Dashes of a side of a possible region: so many, each as long as the share of dash and gap.
_DASHES, _DASH_SHARE = 6, 0.6

_Corner = tuple[float, float]


def add_region_frames(regions: Sequence[Region], geometry: ImageGeometry) -> Any:
    """Add the frames of regions to the scene: solid where certain, dashed where possible.

    Parameters
    ----------
    regions
        Regions in source pixels.
    geometry
        Geometry of the image.

    Returns
    -------
    The vtkMRMLModelNode.
    """
    points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
    for start, end in (segment for region in regions for segment in _segments(region)):
        lines.InsertNextCell(2)
        for row, column in (start, end):
            lines.InsertCellPoint(points.InsertNextPoint(geometry.to_ras(row, column)))
    frames = vtk.vtkPolyData()
    frames.SetPoints(points)
    frames.SetLines(lines)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", NODE_NAME)
    node.SetAndObservePolyData(frames)
    node.SetSelectable(False)
    node.SetHideFromEditors(True)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    # As they are, not where they cut the slice: segments in a plane have no cut with it.
    display.SetSliceDisplayModeToProjection()
    display.SetVisibility2D(True)
    display.SetVisibility3D(False)
    display.SetColor(*COLOUR)
    display.SetSliceIntersectionThickness(2)
    for unsaved in (node, display):
        unsaved.SetSaveWithScene(False)
    return node


def _segments(region: Region) -> Iterator[tuple[_Corner, _Corner]]:
    """Segments of a region's outer edges, from corner to corner; pixel centres are at integers."""
    top, left = region.row - 0.5, region.column - 0.5
    bottom, right = top + region.height, left + region.width
    corners = ((top, left), (top, right), (bottom, right), (bottom, left))
    for first, second in zip(corners, (*corners[1:], corners[0]), strict=True):
        if region.certainty == "certain":
            yield first, second
        else:
            yield from _dashes(first, second)


def _dashes(first: _Corner, second: _Corner) -> Iterator[tuple[_Corner, _Corner]]:
    """Dashes of a side, one at each of its ends."""
    start, end = np.array(first), np.array(second)
    step = 1 / (_DASHES - 1 + _DASH_SHARE)
    for dash in range(_DASHES):
        low, high = (start + (end - start) * step * share for share in (dash, dash + _DASH_SHARE))
        yield (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))
