"""The section that a review is started and closed in, and the package installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer.util

from BoneXRayReviewLib import dependencies

if TYPE_CHECKING:
    from BoneXRayReviewLib.review_start import Review

__all__ = ["SessionPanel"]


class SessionPanel:
    """Installs the package, starts and closes a review.

    Parameters
    ----------
    ui
        The panel's widgets.
    start, close
        Functions to start the review that is filled in, and to close the open review.
    """

    def __init__(self, ui: Any, start: Callable[[], None], close: Callable[[], object]) -> None:
        self._ui = ui
        self._review: Review | None = None
        ui.installButton.connect("clicked()", self.install)
        ui.startButton.connect("clicked()", start)
        ui.closeButton.connect("clicked()", close)
        self.set_review(None)

    def set_review(self, review: Review | None) -> None:
        """Show that a review is open; None for no review."""
        ui, installed = self._ui, dependencies.is_installed()
        self._review = review
        ui.packageLabel.text = "" if installed else "The Python package monai-bone-ssl is not installed."
        ui.packageLabel.visible = ui.installButton.visible = not installed
        ui.startButton.enabled = installed
        ui.closeButton.enabled = review is not None
        ui.sessionSection.collapsed = review is not None

    def install(self) -> None:
        """Install the package, after asking."""
        with slicer.util.tryWithErrorDisplay("The package could not be installed.", waitCursor=True):
            dependencies.install_after_asking()
        self.set_review(self._review)
