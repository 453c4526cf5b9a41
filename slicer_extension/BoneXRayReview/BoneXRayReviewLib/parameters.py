"""Parameters of a review that a saved scene keeps. Verdicts are in the review folder, not in the scene."""
# ruff: noqa: N815 - Slicer's style; no "from __future__ import annotations": Slicer reads the types

from collections.abc import Callable
from typing import Annotated, Any

import ctk
import slicer
import vtk
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from BoneXRayReviewLib.sources import Source

__all__ = ["BoneXRayReviewParameterNode", "ParameterBinding"]


@parameterNodeWrapper
class BoneXRayReviewParameterNode:
    """Parameters of a review; widgets of the panel that name one are bound to the parameter."""

    source: Source
    inputFolder: str
    useModel: bool = True
    modelFolder: str
    """Empty: the model that comes with the package."""
    sessionFolder: str
    """Empty: the folder ``review`` beside the images or results."""
    outputFolder: str
    storeFolder: str
    readerName: str
    readerOrganization: str
    blinded: bool = False
    filterName: str = "all"
    caseKey: str
    """Key of the open case."""
    regionsVisible: bool = True
    overlayVisible: bool = False
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.5
    overlayThreshold: Annotated[float, WithinRange(0, 1)] = 0.05
    radiograph: slicer.vtkMRMLScalarVolumeNode
    evidence: slicer.vtkMRMLScalarVolumeNode


#: Name of the panel's path field -> name of the parameter.
_PATHS = {
    "inputPath": "inputFolder",
    "modelPath": "modelFolder",
    "sessionPath": "sessionFolder",
    "outputPath": "outputFolder",
    "storePath": "storeFolder",
}


class ParameterBinding:
    """Binds the panel to the parameters of a scene.

    Slicer binds path fields to pathlib.Path, whose empty path reads "." in the panel and in a saved scene. So
    path fields are bound here, to text.

    Parameters
    ----------
    ui
        The panel's widgets.
    changed
        Function to call when a parameter has changed.
    """

    def __init__(self, ui: Any, changed: Callable[..., None]) -> None:
        self._ui = ui
        self._changed = changed
        #: Parameters of the scene; None where the panel is bound to none.
        self.parameters: Any = None
        self._tags: Any = None
        for field, parameter in _PATHS.items():
            widget = getattr(ui, field)
            widget.filters = ctk.ctkPathLineEdit.Dirs
            widget.connect("currentPathChanged(QString)", self._setter(parameter))

    def bind(self, parameters: Any) -> None:
        """Bind the panel to parameters, and show them."""
        if self.parameters is not None and self.parameters.parameterNode is parameters.parameterNode:
            parameters = self.parameters
        else:
            self.release()
            gui = parameters.connectGui(self._ui)
            self._tags = gui, parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._changed)
        self.parameters = None  # what is written into the fields below is no change
        for field, parameter in _PATHS.items():
            getattr(self._ui, field).currentPath = getattr(parameters, parameter)
        self.parameters = parameters

    def release(self) -> None:
        """Bind the panel to no parameters."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._tags[0])
            self.parameters.RemoveObserver(self._tags[1])
        self.parameters = None

    def _setter(self, parameter: str) -> Callable[[str], None]:
        def set_path(path: str) -> None:
            if self.parameters is not None:
                setattr(self.parameters, parameter, path)

        return set_path
