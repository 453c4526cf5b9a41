"""Tables of the panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

__all__ = ["Cell", "fill_table", "prepare_table"]

#: Text of a cell, and the colour (red, green, blue) of a mark before the text; coloured text is hard to read.
Cell = tuple[str, tuple[int, int, int] | None]


def prepare_table(table: Any, columns: Sequence[str]) -> None:
    """Set the headings of a table."""
    table.setColumnCount(len(columns))
    table.setHorizontalHeaderLabels(list(columns))
    table.horizontalHeader().highlightSections = False
    table.verticalHeader().visible = False


def fill_table(table: Any, rows: Sequence[Sequence[Cell]], current: int | None = None) -> None:
    """Replace the rows of a table, and select one of them."""
    table.blockSignals(True)
    table.setRowCount(len(rows))
    for row, cells in enumerate(rows):
        for column, (text, colour) in enumerate(cells):
            item = qt.QTableWidgetItem(text)
            if colour is not None:
                item.setIcon(_mark(colour))
            table.setItem(row, column, item)
    table.horizontalHeader().stretchLastSection = False
    table.resizeColumnsToContents()
    table.horizontalHeader().stretchLastSection = True
    table.resizeRowsToContents()
    if current is None:
        table.clearSelection()
    else:
        table.selectRow(current)
        table.scrollToItem(table.item(current, 0))
    table.blockSignals(False)


def _mark(colour: tuple[int, int, int]) -> qt.QIcon:
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(*colour))
    return qt.QIcon(pixmap)
