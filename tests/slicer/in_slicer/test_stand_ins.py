"""The stand-ins refuse what Slicer would refuse: a test of a window is worth no more than that."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import ctk
import pytest
import qt
import slicer
import slicer.util
from doubles.application import Application
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


class Kind(Enum):
    FIRST = "first"
    SECOND = "second"


@parameterNodeWrapper
class Parameters:
    name: str
    share: Annotated[float, WithinRange(0, 1)] = 0.5
    shown: bool = True
    kind: Kind
    volume: slicer.vtkMRMLScalarVolumeNode


@pytest.fixture
def button(application: Application) -> Any:
    assert application.window is not None
    return qt.QPushButton("Text")


@pytest.mark.parametrize(
    "use",
    [
        lambda button: button.txt,
        lambda button: setattr(button, "txt", "x"),
        lambda button: button.setTxt("x"),
        lambda button: button.text(),  # a property, no method
        lambda button: setattr(button, "width", 3),  # read-only
        lambda button: setattr(button, "checked", "yes, please"),
        lambda button: button.clickd.connect(print),
        lambda button: button.connect("clickd()", print),
        lambda button: button.connect("clicked(int)", print),
        lambda _: qt.QPushButon("Text"),
        lambda _: ctk.ctkSlider(),
        lambda _: slicer.util.loadUI("nowhere.ui"),
    ],
)
def test_a_misspelt_name_raises(button: Any, use: Callable[[Any], Any]) -> None:
    with pytest.raises((AttributeError, TypeError, ValueError, RuntimeError)):
        use(button)


def test_properties_signals_and_types_are_pythonqt_s(button: Any) -> None:
    seen: list[Any] = []
    button.connect("clicked()", lambda: seen.append("clicked"))
    button.clicked.connect(lambda checked: seen.append(checked))
    button.checkable = True
    button.click()
    assert seen == ["clicked", True]
    assert (button.text, button.checked, type(button)) == ("Text", True, qt.QPushButton)
    assert callable(button.clicked.disconnect)


def test_an_unknown_class_in_a_panel_raises(button: Any, tmp_path: Path) -> None:
    assert button is not None
    (tmp_path / "x.ui").write_text(
        '<ui version="4.0"><class>X</class><widget class="ctkUnknown" name="X"/></ui>', encoding="utf-8"
    )
    with pytest.raises(RuntimeError):
        slicer.util.loadUI(str(tmp_path / "x.ui"))


@pytest.fixture
def parameters(application: Application) -> Any:
    assert application.logic is not None
    return Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


@pytest.mark.parametrize(
    "use",
    [
        lambda parameters: setattr(parameters, "nam", "x"),
        lambda parameters: setattr(parameters, "name", 3),
        lambda parameters: setattr(parameters, "share", 1.5),
        lambda parameters: setattr(parameters, "kind", "FIRST"),
        lambda parameters: setattr(parameters, "volume", parameters.parameterNode),
    ],
)
def test_a_wrong_parameter_raises(parameters: Any, use: Callable[[Any], Any]) -> None:
    with pytest.raises((AttributeError, TypeError, ValueError)):
        use(parameters)


def test_parameters_are_kept_in_the_node(parameters: Any) -> None:
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters.name, parameters.share, parameters.shown = "x", 0.25, False
    parameters.kind, parameters.volume = Kind.SECOND, volume
    again = Parameters(parameters.parameterNode)
    assert (again.name, again.share, again.shown, again.kind) == ("x", 0.25, False, Kind.SECOND)
    assert again.volume is volume


def test_parameters_and_widgets_are_kept_alike(parameters: Any) -> None:
    gui = SimpleNamespace(check=qt.QCheckBox(), slider=ctk.ctkSliderWidget(), box=qt.QComboBox())
    for widget, name in ((gui.check, "shown"), (gui.slider, "share"), (gui.box, "kind")):
        widget.setProperty("SlicerParameterName", name)
    tag = parameters.connectGui(gui)
    assert (gui.check.checked, gui.slider.maximum, gui.box.count) == (True, 1.0, 2)
    gui.check.checked = False
    gui.slider.value = 0.75
    gui.box.currentIndex = 1
    assert (parameters.shown, parameters.share, parameters.kind) == (False, 0.75, Kind.SECOND)
    parameters.shown = True
    assert gui.check.checked
    parameters.disconnectGui(tag)
    gui.check.checked = False
    assert parameters.shown


def test_a_widget_of_the_wrong_kind_is_not_bound(parameters: Any) -> None:
    gui = SimpleNamespace(edit=qt.QLineEdit())
    gui.edit.setProperty("SlicerParameterName", "shown")
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        parameters.connectGui(gui)
