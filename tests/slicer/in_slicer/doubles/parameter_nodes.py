"""slicer.parameterNodeWrapper: typed parameters in a real vtkMRMLScriptedModuleNode, bound to widgets.

Only the types and pairs of type and widget that Slicer supports are accepted; anything else raises.
"""

from __future__ import annotations

import enum
import typing
from dataclasses import dataclass
from typing import Any

import slicer
import vtk


@dataclass(frozen=True)
class WithinRange:
    minimum: float
    maximum: float


_CHANGED = {
    "QCheckBox": ("checked", "stateChanged"),
    "QLineEdit": ("text", "textChanged"),
    "ctkSliderWidget": ("value", "valueChanged"),
}
_WIDGETS = {bool: "QCheckBox", str: "QLineEdit", float: "ctkSliderWidget"}


def parameterNodeWrapper(cls: type) -> type:
    """Class decorator: annotations become parameters."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for reserved in ("default", "dataType", "getValue", "setValue", "connectGui", "Modified", "AddObserver"):
        if reserved in hints:
            raise ValueError(f"Cannot use reserved name {reserved!r}")
    parameters = {}
    for name, hint in hints.items():
        kind, notes = (
            (typing.get_args(hint)[0], typing.get_args(hint)[1:])
            if hasattr(hint, "__metadata__")
            else (hint, ())
        )
        parameters[name] = _Parameter(name, kind, notes, getattr(cls, name, None))
        setattr(cls, name, property(parameters[name].read, parameters[name].write))
    cls.allParameters = parameters
    return type(cls.__name__, (_Wrapper, cls), {"__doc__": cls.__doc__, "__module__": cls.__module__})


class _Parameter:
    def __init__(self, name: str, kind: type, notes: tuple[Any, ...], default: Any) -> None:
        self.name, self.kind, self.notes = name, kind, notes
        self.is_node = isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)
        self.is_enum = isinstance(kind, type) and issubclass(kind, enum.Enum)
        if not (self.is_node or self.is_enum or kind in (str, bool, int, float)):
            raise TypeError(f"Unable to create serializer for {name}: {kind}")
        self.default = next(iter(kind)) if self.is_enum and default is None else default
        if self.default is None and not self.is_node:
            self.default = kind()

    def read(self, wrapper: _Wrapper) -> Any:
        node = wrapper.parameterNode
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.is_enum:
            return self.kind[text]
        return text == "True" if self.kind is bool else self.kind(text)

    def write(self, wrapper: _Wrapper, value: Any) -> None:
        node = wrapper.parameterNode
        if self.is_node:
            if value is not None and not isinstance(value, self.kind):
                raise TypeError(f"{self.name}: {value!r} is no {self.kind.__name__}")
            node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
            return
        if type(value) is not self.kind and not (self.kind is float and type(value) is int):
            raise TypeError(f"{self.name}: {value!r} is no {self.kind.__name__}")
        for note in self.notes:
            if isinstance(note, WithinRange) and not note.minimum <= value <= note.maximum:
                raise ValueError(f"{self.name}: {value} is not within {note}")
        node.SetParameter(self.name, value.name if self.is_enum else str(value))


class _Wrapper:
    def __init__(self, parameterNode: Any) -> None:
        self.__dict__["parameterNode"] = parameterNode
        self.__dict__["_guis"] = {}
        for parameter in self.allParameters.values():
            if not parameter.is_node and not parameterNode.GetParameter(parameter.name):
                parameter.write(self, parameter.default)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.allParameters:
            raise AttributeError(f"{name} is no parameter")
        super().__setattr__(name, value)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def connectGui(self, gui: Any) -> int:
        bound = {}
        for widget in vars(gui).values():
            name = widget.property("SlicerParameterName")
            if name:
                bound[name] = _Binding(self, self.allParameters[name], widget)
        tag = len(self._guis)
        observer = self.AddObserver(
            vtk.vtkCommand.ModifiedEvent, lambda *_: [b.show() for b in bound.values()]
        )
        self._guis[tag] = (bound, observer)
        return tag

    def disconnectGui(self, tag: int) -> None:
        bound, observer = self._guis.pop(tag)
        self.RemoveObserver(observer)
        for binding in bound.values():
            binding.end()


class _Binding:
    def __init__(self, wrapper: _Wrapper, parameter: _Parameter, widget: Any) -> None:
        self._wrapper, self._parameter, self._widget = wrapper, parameter, widget
        kind = type(widget).__name__
        expected = "QComboBox" if parameter.is_enum else _WIDGETS[parameter.kind]
        if kind != expected:
            raise RuntimeError(f"Unable to create GUI connector from {parameter.name} to {kind}")
        for note in parameter.notes:
            if isinstance(note, WithinRange):
                widget.minimum, widget.maximum = note.minimum, note.maximum
            else:
                raise TypeError(f"{parameter.name}: {note} is not known to these stand-ins")
        if parameter.is_enum:
            widget.clear()
            for member in parameter.kind:
                widget.addItem(member.label() if hasattr(member, "label") else member.name)
        self._property, signal = (
            ("currentIndex", "currentIndexChanged") if parameter.is_enum else _CHANGED[kind]
        )
        self._signal = getattr(widget, signal)
        self._showing = False
        self.show()
        self._signal.connect(self._take)

    def show(self) -> None:
        value = self._parameter.read(self._wrapper)
        if self._parameter.is_enum:
            value = list(self._parameter.kind).index(value)
        self._showing = True
        setattr(self._widget, self._property, value)
        self._showing = False

    def end(self) -> None:
        self._signal.disconnect(self._take)

    def _take(self) -> None:
        if self._showing:
            return
        value = getattr(self._widget, self._property)
        if self._parameter.is_enum:
            value = list(self._parameter.kind)[value]
        self._parameter.write(self._wrapper, value)
