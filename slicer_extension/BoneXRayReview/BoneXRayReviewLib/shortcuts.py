"""Single keys of the panel, in one table for the shortcuts and the module's help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt

__all__ = ["SHORTCUTS", "Shortcuts", "help_text"]

#: Key, name and description of each action. While a text field is edited, Qt gives single keys to the field.
SHORTCUTS: tuple[tuple[str, str, str], ...] = (
    ("A", "agree", "agree with the AI"),
    ("D", "disagree", "disagree with the AI"),
    ("N", "normal", "normal"),
    ("P", "abnormal", "abnormal (pathological)"),
    ("U", "uncertain", "uncertain"),
    ("B", "bad_image", "bad image"),
    ("F", "flag", "flag"),
    ("1", "confidence_1", "confidence 1, a guess"),
    ("2", "confidence_2", "confidence 2"),
    ("3", "confidence_3", "confidence 3"),
    ("4", "confidence_4", "confidence 4"),
    ("5", "confidence_5", "confidence 5, sure"),
    ("T", "point", "mark a point"),
    ("O", "box", "mark a box"),
    ("M", "ruler", "measure"),
    ("G", "toggle_regions", "hide or show the regions of the AI"),
    ("H", "toggle_overlay", "hide or show the evidence of the AI, as a heat map"),
    ("R", "reveal", "blinded: save the first reading and show the AI result"),
    ("S", "save_and_next", "save and next"),
    ("Return", "save_and_next", "save and next"),
    ("Enter", "save_and_next", "save and next"),
    ("Right", "next", "next image"),
    ("Left", "previous", "previous image"),
)


_HELP = """
<p>Review bone radiographs beside the answer of a self-supervised model, one key a decision, and write the
verdict as a verified DICOM SR. What the algorithm says is not verified by a reader, and no diagnosis.</p>
<p>Images come from an output folder of <tt>bone-ssl analyze</tt>, a folder of radiographs or the DICOM
database. Verdicts are kept in the review folder, one file a reader; several readers can share it.</p>
<table>{shortcuts}</table>
"""


def help_text() -> str:
    """Write the module's help, with the table of shortcuts, in HTML."""
    rows = (f"<tr><td><b>{key}</b></td><td>{text}</td></tr>" for key, _, text in SHORTCUTS)
    return _HELP.format(shortcuts="".join(rows))


class Shortcuts:
    """Shortcuts of a window that can be switched on and off.

    Parameters
    ----------
    window
        The main window.
    actions
        Actions by name, with every name of :data:`SHORTCUTS`.
    """

    def __init__(self, window: Any, actions: Mapping[str, Callable[[], None]]) -> None:
        self._shortcuts = []
        for key, name, _ in SHORTCUTS:
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", actions[name])
            shortcut.enabled = False
            self._shortcuts.append(shortcut)

    def enable(self, enabled: bool) -> None:
        """Switch all shortcuts on or off: they must not fire while another module is in use."""
        for shortcut in self._shortcuts:
            shortcut.enabled = enabled

    def delete(self) -> None:
        """Remove all shortcuts for good."""
        for shortcut in self._shortcuts:
            shortcut.enabled = False
            shortcut.deleteLater()
        self._shortcuts.clear()
