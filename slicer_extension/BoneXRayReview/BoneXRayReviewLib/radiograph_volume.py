"""A radiograph as a volume node: Slicer reads the pixels, the package says how they are to be shown.

Slicer's reader rescales and inverts MONOCHROME1 by itself, so nothing is inverted here. Window and level are
fitted, so that the volume looks as the package's reader shows the image. The fit proves polarity too: the
package's pixels replace a volume that would look inverted, or unlike the image that the model was shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util
import vtk

from BoneXRayReviewLib.geometry import ImageGeometry
from BoneXRayReviewLib.scene import remove_node

if TYPE_CHECKING:
    from monai_bone_ssl.dicom.radiograph import Radiograph

__all__ = ["geometry_of", "load_radiograph", "window_level"]

#: Name of the node: the same for every patient, so that a saved scene names none.
NODE_NAME = "Radiograph"

_SPACING = "BoneXRayReview.spacing"
_GREY = "vtkMRMLColorTableNodeGrey"
_TOLERANCE = 1 / 255  # of the displayed range: what an eye on an 8-bit screen cannot see
_FITTED = 50_000  # number of pixels that a line is fitted to; the line is checked on all
_LEVELS = 4095  # grey levels of the package's pixels, where they replace the stored ones


def load_radiograph(path: Path, radiograph: Radiograph, volumes_logic: Any) -> tuple[Any, ImageGeometry]:
    """Add a radiograph to the scene.

    Parameters
    ----------
    path
        The DICOM file.
    radiograph
        Radiograph as the package reads the file.
    volumes_logic
        The application's ``vtkSlicerVolumesLogic``.

    Returns
    -------
    The vtkMRMLScalarVolumeNode, and the geometry of the image.
    """
    rows, columns = radiograph.pixels.shape
    geometry = ImageGeometry(rows, columns, radiograph.spacing)
    node = volumes_logic.AddArchetypeVolume(str(path), NODE_NAME, slicer.vtkSlicerVolumesLogic.SingleFile)
    shown = None if node is None else _fitted(node, radiograph.pixels)
    if shown is None:
        if node is not None:
            remove_node(node)
        node = _from_pixels(radiograph.pixels)
        shown = (float(_LEVELS), _LEVELS / 2)
    # The path of a patient's file has no business in a saved scene.
    storage = node.GetStorageNode()
    if storage is not None:
        slicer.mrmlScene.RemoveNode(storage)
    _place(node, geometry)
    node.SetName(NODE_NAME)  # without a number
    node.SetAttribute(_SPACING, "mm" if geometry.spacing is not None else "pixel")
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_GREY)
    display.AutoWindowLevelOff()
    display.SetWindowLevel(*shown)
    return node, geometry


def geometry_of(node: Any) -> ImageGeometry:
    """Geometry of a radiograph that came with a scene."""
    columns, rows, _ = node.GetImageData().GetDimensions()
    wide, tall, _ = node.GetSpacing()
    return ImageGeometry(rows, columns, (tall, wide) if node.GetAttribute(_SPACING) == "mm" else None)


def window_level(values: np.ndarray, shown: np.ndarray) -> tuple[float, float] | None:
    """Find window and level that show stored values as given.

    Parameters
    ----------
    values
        Stored values [H, W] of the volume.
    shown
        Pixels [H, W] in [0, 1] as they are to look, bright = dense.

    Returns
    -------
    Window and level; None where no rising straight line maps one to the other, such as after a VOI LUT.
    """
    inside = (shown > 0.01) & (shown < 0.99)
    fitted = slice(None, None, max(1, np.count_nonzero(inside) // _FITTED))
    stored = values[inside][fitted].astype(np.float64)
    if np.unique(stored).size < 2:
        return None
    slope, offset = np.polyfit(stored, shown[inside][fitted].astype(np.float64), 1)
    if slope <= 0:
        return None
    error = np.abs(np.clip(values * slope + offset, 0, 1) - shown).max()
    return None if error > _TOLERANCE else (float(1 / slope), float((0.5 - offset) / slope))


def _fitted(node: Any, pixels: np.ndarray) -> tuple[float, float] | None:
    values = slicer.util.arrayFromVolume(node)
    if values.shape != (1, *pixels.shape):
        return None
    return window_level(values[0], pixels)


def _from_pixels(pixels: np.ndarray) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", NODE_NAME)
    slicer.util.updateVolumeFromArray(node, np.rint(pixels * _LEVELS).astype(np.uint16)[None])
    node.CreateDefaultDisplayNodes()
    return node


def _place(node: Any, geometry: ImageGeometry) -> None:
    tall, wide = geometry.step
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 0, -wide)
    matrix.SetElement(1, 1, -tall)
    node.SetIJKToRASMatrix(matrix)
