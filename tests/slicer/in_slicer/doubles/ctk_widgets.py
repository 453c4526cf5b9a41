"""The few CTK widgets that the panel uses, with the properties and signals that it may rely on."""

from __future__ import annotations

import enum

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal

_HEADER = 24


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A section with a heading that folds it."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self._collapsed = False
        self.setContentsMargins(0, _HEADER, 0, 0)

    def _get_text(self) -> str:
        return self._text

    def _set_text(self, text: str) -> None:
        self._text = text
        self.update()

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        self._collapsed = collapsed
        self.setMaximumHeight(_HEADER if collapsed else 16777215)
        self.setMinimumHeight(_HEADER if collapsed else 0)
        self.contentsCollapsed.emit(collapsed)

    text = Property(str, _get_text, _set_text)
    collapsed = Property(bool, _get_collapsed, _set_collapsed)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        if event.position().y() < _HEADER:
            self._set_collapsed(not self._collapsed)

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        bar = QtCore.QRect(0, 0, self.width(), _HEADER - 3)
        painter.fillRect(bar, self.palette().button().color().darker(112))
        painter.drawText(
            bar.adjusted(8, 0, 0, 0), Qt.AlignVCenter, ("▸ " if self._collapsed else "▾ ") + self._text
        )


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path, typed or browsed for."""

    currentPathChanged = Signal(str)

    class Filter(enum.IntFlag):
        """Which paths may be chosen."""

        Dirs = 0x001
        Files = 0x002
        Readable = 0x010
        Writable = 0x020
        Executable = 0x040

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._filters = 0
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._edit = QtWidgets.QLineEdit()
        browse = QtWidgets.QToolButton()
        browse.setText("...")
        layout.addWidget(self._edit)
        layout.addWidget(browse)
        self._edit.textChanged.connect(self.currentPathChanged)

    def _get_path(self) -> str:
        return self._edit.text()

    def _set_path(self, path: str) -> None:
        self._edit.setText(path)

    def _get_filters(self) -> int:
        return self._filters

    def _set_filters(self, filters: int) -> None:
        self._filters = int(filters)

    currentPath = Property(str, _get_path, _set_path, notify=currentPathChanged)
    filters = Property(int, _get_filters, _set_filters)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box."""

    valueChanged = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(Qt.Horizontal)
        self._slider.setRange(0, 1000)
        self._spin = QtWidgets.QDoubleSpinBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._spin)
        self._spin.valueChanged.connect(self._follow)
        self._slider.sliderMoved.connect(self._move)

    def _follow(self, value: float) -> None:
        span = self._spin.maximum() - self._spin.minimum()
        self._slider.setValue(round(1000 * (value - self._spin.minimum()) / (span or 1)))
        self.valueChanged.emit(value)

    def _move(self, position: int) -> None:
        span = self._spin.maximum() - self._spin.minimum()
        self._spin.setValue(self._spin.minimum() + position / 1000 * span)

    value = Property(float, lambda s: s._spin.value(), lambda s, v: s._spin.setValue(v), notify=valueChanged)
    minimum = Property(float, lambda s: s._spin.minimum(), lambda s, v: s._spin.setMinimum(v))
    maximum = Property(float, lambda s: s._spin.maximum(), lambda s, v: s._spin.setMaximum(v))
    singleStep = Property(float, lambda s: s._spin.singleStep(), lambda s, v: s._spin.setSingleStep(v))
    decimals = Property(int, lambda s: s._spin.decimals(), lambda s, v: s._spin.setDecimals(v))


WIDGETS = (ctkCollapsibleButton, ctkPathLineEdit, ctkSliderWidget)
