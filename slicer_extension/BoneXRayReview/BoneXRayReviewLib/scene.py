"""The scene's side of one radiograph: removing nodes, and the slice view that shows the image."""

from __future__ import annotations

from typing import Any

import slicer

__all__ = ["SliceView", "is_in_scene", "remove_node"]

_VIEW = "vtkMRMLSliceNodeRed"


class SliceView:
    """The Red slice view.

    Parameters
    ----------
    application_logic
        The application's ``vtkSlicerApplicationLogic``.
    """

    def __init__(self, application_logic: Any) -> None:
        self._application_logic = application_logic

    def show(self, radiograph: Any) -> None:
        """Show a radiograph as the file stores it, fitted to the view, without evidence."""
        slice_node = slicer.mrmlScene.GetNodeByID(_VIEW)
        # Any other orientation would show the image mirrored, or edge-on.
        slice_node.SetOrientation("Axial")
        logic = self._application_logic.GetSliceLogic(slice_node)
        composite = logic.GetSliceCompositeNode()
        composite.SetForegroundVolumeID(None)
        composite.SetLabelVolumeID(None)
        composite.SetBackgroundVolumeID(radiograph.GetID())
        logic.FitSliceToAll()

    def show_evidence(self, evidence: Any | None, opacity: float) -> None:
        """Lay evidence over the radiograph; None removes the evidence."""
        composite = self._composite()
        composite.SetForegroundVolumeID(None if evidence is None else evidence.GetID())
        composite.SetForegroundOpacity(opacity)

    def clear(self) -> None:
        """Show nothing."""
        composite = self._composite()
        composite.SetForegroundVolumeID(None)
        composite.SetBackgroundVolumeID(None)

    def _composite(self) -> Any:
        slice_node = slicer.mrmlScene.GetNodeByID(_VIEW)
        return self._application_logic.GetSliceLogic(slice_node).GetSliceCompositeNode()


def is_in_scene(node: Any) -> bool:
    """Whether a node exists and is in the scene."""
    return node is not None and slicer.mrmlScene.IsNodePresent(node) != 0


def remove_node(node: Any) -> None:
    """Remove a node together with its display and storage nodes, which the scene would keep."""
    displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    for belonging in (*displays, node.GetStorageNode(), node):
        if is_in_scene(belonging):
            slicer.mrmlScene.RemoveNode(belonging)
