"""Path fields of the panel, bound to text parameters.

Slicer binds its path fields to pathlib.Path; an empty one would read "." in the panel and in a saved scene.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ctk

__all__ = ["PathBindings"]

#: Field of the panel -> parameter.
_PATHS = {
    "inputPath": "inputFolder",
    "modelPath": "modelFolder",
    "sessionPath": "sessionFolder",
    "outputPath": "outputFolder",
    "storePath": "storeFolder",
}


class PathBindings:
    """Keeps fields and parameters alike.

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
        """Show the paths of other parameters, and write into them from now on; None for none."""
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
