"""Parameters of a review that a saved scene keeps. Verdicts are in the review folder, not in the scene."""
# ruff: noqa: N815 - Slicer's style; no "from __future__ import annotations": Slicer reads the types

from collections.abc import Callable
from typing import Annotated, Any

import ctk
import slicer
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from BoneXRayReviewLib.sources import Source

__all__ = ["BoneXRayReviewParameterNode", "PathBindings"]


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
    overlayVisible: bool = True
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.5
    overlayThreshold: Annotated[float, WithinRange(0, 1)] = 0.25
    radiograph: slicer.vtkMRMLScalarVolumeNode
    evidence: slicer.vtkMRMLScalarVolumeNode


#: Name of the panel's field -> name of the parameter.
_PATHS = {
    "inputPath": "inputFolder",
    "modelPath": "modelFolder",
    "sessionPath": "sessionFolder",
    "outputPath": "outputFolder",
    "storePath": "storeFolder",
}


class PathBindings:
    """Binds the path fields of the panel to text parameters.

    Slicer binds path fields to pathlib.Path, whose empty path reads "." in the panel and in a saved scene.

    Parameters
    ----------
    ui
        The panel's widgets.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._parameters: Any = None
        for field, parameter in _PATHS.items():
            widget = getattr(ui, field)
            widget.filters = ctk.ctkPathLineEdit.Dirs
            widget.connect("currentPathChanged(QString)", self._setter(parameter))

    def bind(self, parameters: Any) -> None:
        """Bind the fields to other parameters; None for none."""
        self._parameters = None
        if parameters is not None:
            for field, parameter in _PATHS.items():
                getattr(self._ui, field).currentPath = getattr(parameters, parameter)
        self._parameters = parameters

    def _setter(self, parameter: str) -> Callable[[str], None]:
        def set_path(path: str) -> None:
            if self._parameters is not None:
                setattr(self._parameters, parameter, path)

        return set_path
