"""The application: its window, its scene, and where a module finds them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import slicer
import slicer.util
from PySide6 import QtWidgets
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtTest import QTest
from PySide6.QtUiTools import QUiLoader
from scene import new_scene, render

from doubles import ctk_widgets, parameter_nodes
from doubles.pythonqt import QtModule, Wrapped, wrap, wrapper_class

PANEL_WIDTH = 420


class Application:
    """What ``slicer.app`` and ``slicer.modules`` stand for in one test.

    Parameters
    ----------
    folder
        Temporary files.
    """

    def __init__(self, folder: Path) -> None:
        self.logic = new_scene()
        self.folder = folder
        self.window = QtWidgets.QMainWindow()
        self.window.setObjectName("qSlicerMainWindow")
        self.picture = QtWidgets.QLabel()
        self.picture.setMinimumSize(640, 640)
        self.picture.setStyleSheet("background: black")
        self.window.setCentralWidget(self.picture)
        self.panel = QtWidgets.QScrollArea()
        self.panel.setWidgetResizable(True)
        self.panel.setFixedWidth(PANEL_WIDTH)
        self.inner = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(self.inner).setContentsMargins(4, 4, 4, 4)
        self.panel.setWidget(self.inner)
        dock = QtWidgets.QDockWidget()
        dock.setWidget(self.panel)
        self.window.addDockWidget(Qt.LeftDockWidgetArea, dock)
        self.started: list[Callable[[], None]] = []
        self.layouts: list[int] = []
        self.questions: list[str] = []
        self.errors: list[str] = []
        self.answer = True
        self.module_path = ""
        self.volumes_logic = slicer.vtkSlicerVolumesLogic()
        self.volumes_logic.SetMRMLApplicationLogic(self.logic)
        self.volumes_logic.SetMRMLScene(slicer.mrmlScene)

    def install(self) -> None:
        """Put everything where a module looks for it."""
        slicer.app = SimpleNamespace(
            applicationName="Slicer",
            temporaryPath=str(self.folder),
            applicationLogic=lambda: self.logic,
            layoutManager=lambda: SimpleNamespace(setLayout=self.layouts.append),
            connect=self._connect,
            topLevelWidgets=lambda: [wrap(self.window)],
            testingEnabled=lambda: True,
            setOverrideCursor=lambda cursor: None,
            restoreOverrideCursor=lambda: None,
        )
        volumes = SimpleNamespace(logic=lambda: self.volumes_logic)
        slicer.modules = SimpleNamespace(volumes=volumes)
        slicer.util.confirmOkCancelDisplay = self._confirm
        slicer.util.errorDisplay = lambda text, windowTitle=None: self.errors.append(text)
        slicer.util.modulePath = lambda name: self.module_path

    def show(self, width: int = 1100, height: int = 1000) -> None:
        """Show the window."""
        self.window.resize(width, height)
        self.window.show()
        self.window.activateWindow()
        if not QTest.qWaitForWindowActive(self.window):  # before that, an X server gives it no keys
            raise AssertionError("the window does not become active")
        QtWidgets.QApplication.processEvents()

    def screenshot(self, path: Path) -> None:
        """The window with the rendered slice view, as PNG."""
        QtWidgets.QApplication.processEvents()
        side = min(self.picture.width(), self.picture.height())
        pixels = render(self.logic, side)
        image = QImage(pixels.tobytes(), side, side, 3 * side, QImage.Format_RGB888)
        self.picture.setPixmap(QPixmap.fromImage(image))
        QtWidgets.QApplication.processEvents()
        self.window.grab().save(str(path))

    def close(self) -> None:
        """Take the window away and empty the scene."""
        slicer.mrmlScene.Clear(True)
        self.window.close()
        self.window.deleteLater()
        QtWidgets.QApplication.processEvents()

    def _connect(self, signal: str, slot: Callable[[], None]) -> None:
        if signal != "startupCompleted()":
            raise ValueError(f"qSlicerApplication has no signal {signal}")
        self.started.append(slot)

    def _confirm(self, text: str, windowTitle: str | None = None) -> bool:
        self.questions.append(text)
        return self.answer


class ScriptedLoadableModule:
    """Base class of modules."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__


class ScriptedLoadableModuleWidget:
    """Base class of panels: with a parent, the application calls setup()."""

    def __init__(self, parent: Any = None) -> None:
        if not parent:
            raise AssertionError("give a parent: without one, Slicer calls setup() inside __init__")
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        self.layout = parent.layout()

    def setup(self) -> None:
        """Nothing but the developer's buttons."""

    def resourcePath(self, name: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / name)


class ScriptedLoadableModuleLogic:
    """Base class of logics."""

    def __init__(self) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(self.moduleName)
            node.SetModuleName(self.moduleName)
            node.SetName(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest:
    """Base class of self-tests."""

    messageDelay = 0

    def delayDisplay(self, message: str) -> None:
        print(message)


class _UiLoader:
    """QUiLoader with the CTK widgets; an unknown class would become a plain widget, and raises here."""

    def __init__(self) -> None:
        self._loader = QUiLoader()
        for widget in ctk_widgets.WIDGETS:
            self._loader.registerCustomWidget(widget)

    def load(self, file: Wrapped) -> Any:
        root = self._loader.load(file._qobject)
        if self._loader.errorString():
            raise RuntimeError(self._loader.errorString())
        return wrap(root)


def install_modules() -> None:
    """Put the modules that the application brings into ``sys.modules``; once a process."""
    qt = QtModule()
    qt.QUiLoader = _UiLoader
    sys.modules["qt"] = qt
    ctk = ModuleType("ctk")
    for widget in ctk_widgets.WIDGETS:
        setattr(ctk, widget.__name__, wrapper_class(widget))
    sys.modules["ctk"] = ctk
    base = ModuleType("slicer.ScriptedLoadableModule")
    for cls in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(base, cls.__name__, cls)
    sys.modules["slicer.ScriptedLoadableModule"] = base
    wrapper = ModuleType("slicer.parameterNodeWrapper")
    for name in ("parameterNodeWrapper", "WithinRange"):
        setattr(wrapper, name, getattr(parameter_nodes, name))
    sys.modules["slicer.parameterNodeWrapper"] = wrapper
    samples = ModuleType("SampleData")
    samples.SampleDataLogic = SampleDataLogic
    sys.modules["SampleData"] = samples


class SampleDataLogic:
    """Where sample data are registered."""

    registered: ClassVar[list[dict[str, Any]]] = []

    @staticmethod
    def registerCustomSampleDataSource(
        category: str,
        sampleName: str,
        uris: list[str],
        fileNames: list[str],
        nodeNames: list[str],
        checksums: list[str],
    ) -> None:
        SampleDataLogic.registered.append(
            {
                "category": category,
                "name": sampleName,
                "uris": uris,
                "files": fileNames,
                "checksums": checksums,
            }
        )
