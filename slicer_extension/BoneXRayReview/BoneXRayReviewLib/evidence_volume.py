"""The evidence as a volume node: one voxel a patch, lying exactly over the patch's pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from BoneXRayReviewLib.geometry import ImageGeometry

__all__ = ["add_evidence", "set_threshold"]

NODE_NAME = "Evidence"
COLOURS_NAME = "Evidence colours"


def add_evidence(evidence: np.ndarray, geometry: ImageGeometry) -> Any:
    """Add evidence to the scene, in the package's colours.

    Parameters
    ----------
    evidence
        Probability of each patch that it shows the target, float32 [h, w], 0 to 1; the patches cover the
        image from edge to edge.
    geometry
        Geometry of the image.

    Returns
    -------
    The vtkMRMLScalarVolumeNode.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", NODE_NAME)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(evidence, dtype=np.float32)[None])
    node.SetName(NODE_NAME)  # without a number
    _place(node, evidence.shape, geometry)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_colour_node().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.InterpolateOn()
    set_threshold(node, 0.0)
    return node


def set_threshold(node: Any, least: float) -> None:
    """Hide evidence below a probability, and what the package's own pictures do not colour either."""
    from monai_bone_ssl.show.colours import LEAST_SHOWN

    display = node.GetDisplayNode()
    display.AutoThresholdOff()
    display.SetThreshold(max(least, LEAST_SHOWN), 1.0)
    display.ApplyThresholdOn()


def _colour_node() -> Any:
    from monai_bone_ssl.show.colours import colour_table

    found = slicer.mrmlScene.GetFirstNodeByName(COLOURS_NAME)
    if found is not None:
        return found
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", COLOURS_NAME)
    node.SetTypeToUser()
    colours = colour_table()
    node.SetNumberOfColors(len(colours))
    # Slicer has one opacity for the whole overlay: the colours' own is left out.
    for index, (red, green, blue, _) in enumerate(colours):
        node.SetColor(index, str(index), float(red), float(green), float(blue), 1.0)
    return node


def _place(node: Any, shape: tuple[int, ...], geometry: ImageGeometry) -> None:
    """Give voxels the size of patches, and the volume the outer edges of the image."""
    tall, wide = geometry.step
    patch_rows, patch_columns = geometry.rows / shape[0], geometry.columns / shape[1]
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 0, -wide * patch_columns)
    matrix.SetElement(1, 1, -tall * patch_rows)
    for axis, place in enumerate(geometry.to_ras(patch_rows / 2 - 0.5, patch_columns / 2 - 0.5)):
        matrix.SetElement(axis, 3, place)
    node.SetIJKToRASMatrix(matrix)
