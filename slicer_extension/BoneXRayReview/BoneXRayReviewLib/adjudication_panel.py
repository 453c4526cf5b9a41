"""The section for adjudication: images that readers read differently, to be settled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from BoneXRayReviewLib.messages import count, in_words, reporting, say
from BoneXRayReviewLib.tables import Cell, fill_table, prepare_table

if TYPE_CHECKING:
    from BoneXRayReviewLib.review_start import Review
    from monai_bone_ssl.review.consensus import Disagreement

__all__ = ["AdjudicationPanel"]


class AdjudicationPanel:
    """Lists the images that readers read differently.

    Parameters
    ----------
    ui
        The panel's widgets.
    adjudicate
        Function that opens the case with a key, to be settled.
    """

    def __init__(self, ui: Any, adjudicate: Callable[[str], None]) -> None:
        self._ui = ui
        self._adjudicate = adjudicate
        self._review: Review | None = None
        self._keys: list[str] = []
        prepare_table(ui.disagreementTable, ("Readings", "Image"))
        ui.disagreementsButton.connect("clicked()", self.refresh)
        ui.disagreementTable.connect("cellDoubleClicked(int,int)", self._on_chosen)
        self.set_review(None)

    def set_review(self, review: Review | None) -> None:
        """Work on another review; None for no review."""
        self._review = review
        self._keys = []
        fill_table(self._ui.disagreementTable, [])
        self._ui.disagreementsButton.enabled = review is not None

    def refresh(self) -> None:
        """Compare all readers' verdicts."""
        from monai_bone_ssl.review.consensus import disagreements

        if self._review is None:
            return
        with reporting(self._ui.adjudicationLabel):
            controller = self._review.controller
            # A blinded reader learns nothing of images that he has not read himself.
            found = [
                disagreement
                for disagreement in disagreements(controller.session.folder)
                if controller.case(disagreement.key) is not None
                and controller.session.may_see_ai(disagreement.key)
            ]
            self._keys = [disagreement.key for disagreement in found]
            fill_table(self._ui.disagreementTable, [_row(disagreement) for disagreement in found])
            images = count(len(found), "image")
            text = f"{images} that readers read differently. Double-click to settle one."
            say(self._ui.adjudicationLabel, text)

    def _on_chosen(self, row: int, _column: int) -> None:
        self._adjudicate(self._keys[row])


def _row(disagreement: Disagreement) -> list[Cell]:
    readings = [f"{reader}: {in_words(reading)}" for reader, reading in disagreement.readings.items()]
    return [(", ".join(readings), None), (disagreement.key, None)]
