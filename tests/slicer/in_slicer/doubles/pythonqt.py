"""PySide6 objects as PythonQt shows them to Slicer's Python.

What differs from PySide6, and matters to a module: Qt properties are attributes, not pairs of methods; a
signal is connected by name or by attribute; each Qt class has one Python class, and ``type()`` tells it.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

_wrappers: dict[int, Wrapped] = {}
_classes: dict[str, type[Wrapped]] = {}


class Wrapped:
    """A QObject as PythonQt shows it."""

    _factory: Callable[..., QtCore.QObject]

    def __init__(self, *arguments: Any) -> None:
        object.__setattr__(self, "_qobject", type(self)._factory(*map(unwrap, arguments)))
        _wrappers[id(self._qobject)] = self

    def __getattr__(self, name: str) -> Any:
        qobject = self._qobject
        if name == "name":
            return qobject.objectName()
        if name.startswith("_"):
            raise AttributeError(name)
        if qobject.metaObject().indexOfProperty(name) >= 0:
            return wrap(qobject.property(name))
        if name == "connect":
            return self._connect
        found = getattr(qobject, name)  # AttributeError where there is none
        if isinstance(found, QtCore.SignalInstance):
            return _Signal(found, _arity(qobject, name))
        if not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            return wrap(found(*map(unwrap, arguments)))

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        meta = self._qobject.metaObject()
        index = meta.indexOfProperty(name)
        if index < 0:
            raise AttributeError(f"{meta.className()} has no property {name}")
        if not meta.property(index).isWritable():
            raise AttributeError(f"{meta.className()}.{name} is read-only")
        expected = _TYPES.get(meta.property(index).typeName(), object)
        if not isinstance(value, expected) or not self._qobject.setProperty(name, unwrap(value)):
            raise TypeError(f"{meta.className()}.{name} cannot be {value!r}")

    def __bool__(self) -> bool:
        return True

    def _connect(self, signal: str, slot: Callable[..., Any]) -> bool:
        meta = self._qobject.metaObject()
        if meta.indexOfSignal(signal) < 0:
            raise ValueError(f"{meta.className()} has no signal {signal}")
        name = signal[: signal.index("(")]
        count = len([parameter for parameter in signal[len(name) + 1 : -1].split(",") if parameter])
        getattr(self._qobject, name).connect(_receiver(slot, count))
        return True


class _Signal:
    """A signal as an attribute; gives a slot as many values as it takes."""

    def __init__(self, bound: Any, arity: int) -> None:
        self._bound = bound
        self._arity = arity

    def connect(self, slot: Callable[..., Any]) -> None:
        count = min(_positional(slot), self._arity)
        connection = self._bound.connect(_receiver(slot, count))
        _connections.setdefault((str(self._bound), _identity(slot)), []).append(connection)

    def disconnect(self, slot: Callable[..., Any]) -> None:
        for connection in _connections.pop((str(self._bound), _identity(slot))):
            QtCore.QObject.disconnect(connection)


#: Type of a property -> what it may be set to; other types are left to Qt.
_TYPES: dict[str, Any] = {"bool": bool, "int": int, "double": (int, float), "QString": str}
_connections: dict[tuple[str, Any], list[Any]] = {}


def _arity(qobject: QtCore.QObject, name: str) -> int:
    """How many values a signal has."""
    meta = qobject.metaObject()
    methods = (meta.method(index) for index in range(meta.methodCount()))
    return max(method.parameterCount() for method in methods if method.name() == name)


def _receiver(slot: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The slot, with so many values; PySide6 counts a function's arguments to choose what it is given."""
    return {
        0: lambda: slot(),
        1: lambda first: slot(wrap(first)),
        2: lambda first, second: slot(wrap(first), wrap(second)),
    }[count]


def _identity(slot: Callable[..., Any]) -> Any:
    return (id(getattr(slot, "__self__", None)), getattr(slot, "__func__", slot))


def _positional(slot: Callable[..., Any]) -> int:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(slot).parameters.values()
    return sum(parameter.kind in kinds for parameter in parameters)


def unwrap(value: Any) -> Any:
    """What PySide6 takes."""
    if isinstance(value, enum.IntFlag):  # of the CTK stand-ins; Qt's own are no numbers
        return int(value)
    return value._qobject if isinstance(value, Wrapped) else value


def wrap(value: Any) -> Any:
    """What PythonQt would give for what PySide6 gives."""
    if isinstance(value, QtCore.QObject):
        known = _wrappers.get(id(value))
        if known is not None:
            return known
        made = object.__new__(wrapper_class(type(value)))
        object.__setattr__(made, "_qobject", value)
        _wrappers[id(value)] = made
        return made
    if isinstance(value, list | tuple) and any(isinstance(item, QtCore.QObject) for item in value):
        return [wrap(item) for item in value]
    return value


def wrapper_class(qt_class: type) -> type[Wrapped]:
    """The class that stands for a Qt class, with its enumerators as attributes."""
    name = qt_class.__name__
    if name not in _classes:
        enumerators = {
            member.name: member
            for kind in (getattr(qt_class, attribute) for attribute in dir(qt_class))
            if isinstance(kind, enum.EnumMeta)
            for member in kind
        }
        members = {"_factory": staticmethod(qt_class)} | enumerators
        _classes[name] = type(name, (Wrapped,), members)
    return _classes[name]


class QtModule:
    """The module ``qt``: classes of QtCore, QtGui and QtWidgets under one name."""

    def __getattr__(self, name: str) -> Any:
        from PySide6 import QtUiTools

        for module in (QtWidgets, QtGui, QtCore, QtUiTools):
            if hasattr(module, name):
                found = getattr(module, name)
                break
        else:
            raise AttributeError(f"qt has no {name}")
        is_object = isinstance(found, type) and issubclass(found, QtCore.QObject)
        return wrapper_class(found) if is_object else found
