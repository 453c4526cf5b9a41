"""A reader's hands: fills in the panel, presses keys, clicks, looks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
from doubles.application import Application
from numpy.typing import NDArray
from PySide6 import QtWidgets
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from scene import render

from monai_bone_ssl.review.session_files import read_journals, read_verdicts
from monai_bone_ssl.review.verdict import Reading, Verdict

_SOURCES = ("results", "folder", "database")


class ReaderHands:
    """Somebody who uses one panel.

    Parameters
    ----------
    application, panel
        The application, and the module's panel in it.
    review
        The review folder.
    """

    def __init__(self, application: Application, panel: Any, review: Path) -> None:
        self.application = application
        self.panel = panel
        self.ui = panel.ui
        self.review = review

    def start(
        self,
        folder: Path,
        model: Path | None,
        *,
        source: str = "results",
        name: str = "Reader^One",
        organization: str = "Test Hospital",
        blinded: bool = False,
    ) -> None:
        """Fill in the session and press Start."""
        ui = self.ui
        ui.sourceComboBox.currentIndex = _SOURCES.index(source)
        ui.inputPath.currentPath = str(folder)
        ui.useModelCheckBox.checked = model is not None
        ui.modelPath.currentPath = "" if model is None else str(model)
        ui.sessionPath.currentPath = str(self.review)
        ui.readerEdit.text = name
        ui.organizationEdit.text = organization
        ui.blindedCheckBox.checked = blinded
        self.click("startButton")

    def click(self, name: str) -> None:
        """Click a button that is there to be clicked."""
        button = getattr(self.ui, name)._qobject
        assert button.isVisibleTo(self.application.window), f"{name} is hidden"
        assert button.isEnabled(), f"{name} is disabled"
        QTest.mouseClick(button, Qt.LeftButton)

    def press(self, keys: str) -> None:
        """Press single keys one after the other; ``>`` and ``<`` are the arrows, ``!`` is Return."""
        named = {">": Qt.Key_Right, "<": Qt.Key_Left, "!": Qt.Key_Return}
        for key in keys:
            QTest.keyClick(self.application.window, named.get(key, key))

    def double_click(self, table: str, row: int) -> None:
        """Double-click a row of a table."""
        widget = getattr(self.ui, table)._qobject
        place = widget.visualItemRect(widget.item(row, 0)).center()
        # Qt takes the second press for a double click only after a first click on the same place.
        QTest.mouseClick(widget.viewport(), Qt.LeftButton, Qt.NoModifier, place)
        QTest.mouseDClick(widget.viewport(), Qt.LeftButton, Qt.NoModifier, place)

    def open_section(self, name: str) -> None:
        """Unfold a section of the panel, in a window that shows all of it."""
        getattr(self.ui, name).collapsed = False
        self.application.show(1100, 1700)

    def analyse(self) -> None:
        """Run the model and wait until it has ended."""
        self.click("analyseButton")
        self.wait(self.panel.tasks)

    def read_as(self, truth: Mapping[str, int]) -> None:
        """Save a verdict on every image, 1 abnormal, by the name of its file."""
        session = self.panel.controller.session
        for case in self.panel.controller.worklist.cases:
            reading = Reading.ABNORMAL if truth[case.path.stem] else Reading.NORMAL
            session.save(session.verdict(case, reading, seconds=1))
        self.panel.worklist_panel.refresh()

    def wait(self, runner: Any) -> None:
        """Let the window work until a background task has ended."""
        deadline = monotonic() + 60
        while runner.busy:
            QtWidgets.QApplication.processEvents()
            assert monotonic() < deadline, "the background work does not end"
            sleep(0.005)

    @property
    def file(self) -> str | None:
        """Name of the open case's file."""
        current = None if self.panel.controller is None else self.panel.controller.current
        return None if current is None else current.path.name

    @property
    def message(self) -> str:
        """What the panel tells beside the verdict."""
        return self.ui.messageLabel.text

    def verdict(self, name: str = "Reader^One", file: str | None = None) -> Verdict:
        """The verdict on the disk about a file, by default the open one."""
        cases = self.panel.controller.worklist.cases
        key = next(case.key for case in cases if case.path.name == (file or self.file))
        return read_verdicts(self.review)[name][key]

    def table(self, name: str) -> list[list[str]]:
        """Texts of a table."""
        widget = getattr(self.ui, name)._qobject
        return [
            [widget.item(row, column).text() for column in range(widget.columnCount())]
            for row in range(widget.rowCount())
        ]

    def audit(self) -> list[tuple[str, str]]:
        """Event and key of every line of the audit trail, of all readers."""
        journals = read_journals(self.review)
        return [(event.event, event.key) for journal in journals for event in journal.events]

    def view(self) -> NDArray[np.uint8]:
        """What the slice view shows."""
        return render(self.application.logic, 256)

    def words(self) -> str:
        """Every text that the window shows now, tables and tool tips included."""
        found = []
        for widget in self.application.window.findChildren(QtWidgets.QWidget):
            if not widget.isVisible():
                continue
            found.append(widget.toolTip())
            for getter in ("text", "toPlainText", "currentText"):
                value = getattr(widget, getter, None)
                if callable(value):
                    found.append(str(value()))
            if isinstance(widget, QtWidgets.QTableWidget):
                cells = (
                    widget.item(r, c) for r in range(widget.rowCount()) for c in range(widget.columnCount())
                )
                found += [cell.text() for cell in cells if cell is not None]
        return "\n".join(found)

    def is_coloured(self) -> bool:
        """Whether the slice view shows any colour: the evidence."""
        view = self.view().astype(int)
        return bool((view.max(axis=2) - view.min(axis=2) > 12).any())
