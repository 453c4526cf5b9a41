"""The open case on the screen: image, patient, and the answer as far as the reader may know it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from BoneXRayReviewLib.case_panel import CasePanel
from BoneXRayReviewLib.messages import reporting
from BoneXRayReviewLib.similar_lookup import SimilarLookup

if TYPE_CHECKING:
    from BoneXRayReviewLib.background import BackgroundTask
    from BoneXRayReviewLib.inference import Similar
    from BoneXRayReviewLib.review_start import Review
    from BoneXRayReviewLib.viewer import Viewer

__all__ = ["CaseView"]


class CaseView:
    """Shows what a review's controller has opened.

    Parameters
    ----------
    ui
        The panel's widgets.
    viewer
        The scene's side of it.
    folder
        Temporary folder for the panel's pictures.
    """

    def __init__(self, ui: Any, viewer: Viewer, folder: Path) -> None:
        self._ui = ui
        self._viewer = viewer
        self._panel = CasePanel(ui, folder)
        self._review: Review | None = None
        self.similar = SimilarLookup(self._on_similar, self._on_lookup_end)

    def set_review(self, review: Review | None) -> None:
        """Work on another review, or on none."""
        self._review = review
        self.similar.clear()
        if review is None:
            self._panel.clear()

    def show(self, review: Review) -> None:
        """Show the open case's image and whose it is, and what may be known of its answer.

        Raises
        ------
        BoneSSLError
            Where the image cannot be read, or is another one by now; then nothing is shown.
        """
        from monai_bone_ssl.dicom.radiograph import read_radiograph
        from monai_bone_ssl.review.worklist import case_header

        case = review.controller.current
        self._viewer.clear()
        self._panel.clear()
        self._panel.show_patient(case_header(case))
        self._viewer.show(case.path, read_radiograph(case.path), review.controller.draft.locations)
        review.controller.image_shown = True
        self.show_answer(review)

    def show_answer(self, review: Review) -> None:
        """Show what the algorithm says of the open case, as far as the reader may know."""
        controller = review.controller
        self._viewer.remove_evidence()
        self._panel.show_similar(None)
        if not controller.may_see_ai:
            self._panel.show_hidden()
            return
        controller.note_revealed()
        evidence = controller.evidence()
        limit = None if evidence is None else review.evidence_limit(evidence)
        if limit is not None:
            self._viewer.set_evidence(evidence, limit)
        worklist = controller.worklist
        self._panel.show_result(controller.current, worklist.target, worklist.model, limit)
        self.similar.look_up(controller.current, review.model)

    def _on_similar(self, similar: Similar) -> None:
        current = None if self._review is None else self._review.controller.current
        if current is not None and current.key == similar.key:
            self._panel.show_similar(similar)

    def _on_lookup_end(self, task: BackgroundTask[Similar]) -> None:
        with reporting(self._ui.messageLabel):
            task.check()
