"""One slice view that shows a radiograph and, over it, the evidence."""

from __future__ import annotations

from typing import Any

import slicer

__all__ = ["SliceView"]

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
        """Show a radiograph as it is stored, fitted to the view, without evidence."""
        slice_node = slicer.mrmlScene.GetNodeByID(_VIEW)
        # Any other orientation would show it mirrored, or edge-on.
        slice_node.SetOrientation("Axial")
        logic = self._application_logic.GetSliceLogic(slice_node)
        composite = logic.GetSliceCompositeNode()
        composite.SetForegroundVolumeID(None)
        composite.SetLabelVolumeID(None)
        composite.SetBackgroundVolumeID(radiograph.GetID())
        logic.FitSliceToAll()

    def show_evidence(self, evidence: Any | None, opacity: float) -> None:
        """Lay evidence over the radiograph; None takes it away."""
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
