"""The open case on the screen: image, patient, and the answer as far as the reader may know it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from BoneXRayReviewLib.background import BackgroundTask
from BoneXRayReviewLib.case_panel import CasePanel
from BoneXRayReviewLib.messages import reporting
from BoneXRayReviewLib.tasks import TaskRunner

if TYPE_CHECKING:
    from BoneXRayReviewLib.inference import LazyModel, Similar
    from BoneXRayReviewLib.review_start import Review
    from BoneXRayReviewLib.viewer import Viewer
    from monai_bone_ssl.review.worklist import Case

__all__ = ["CaseView"]


class CaseView:
    """Shows the case that a review's controller has opened.

    Parameters
    ----------
    ui
        The panel's widgets.
    viewer
        View of the case in the scene.
    folder
        Temporary folder for the panel's pictures.
    """

    def __init__(self, ui: Any, viewer: Viewer, folder: Path) -> None:
        self._ui = ui
        self._viewer = viewer
        self._panel = CasePanel(ui, folder)
        self._review: Review | None = None
        self.similar = _SimilarLookup(self._on_similar, self._on_lookup_end)

    def set_review(self, review: Review | None) -> None:
        """Work on another review; None for no review."""
        self._review = review
        self.similar.clear()
        if review is None:
            self._panel.clear()

    def show(self, review: Review) -> None:
        """Show the open case: image, patient, and the answer as far as the reader may know it.

        Raises
        ------
        BoneSSLError
            Where the image cannot be read, or is another one by now. Nothing is shown then.
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
        """Show the answer on the open case, as far as the reader may know it."""
        controller = review.controller
        self._viewer.remove_answer()
        self._panel.show_similar(None)
        if not controller.may_see_ai:
            self._panel.show_hidden()
            return
        controller.note_revealed()
        evidence, worklist = controller.evidence(), controller.worklist
        self._viewer.set_answer(evidence, controller.regions())
        self._panel.show_result(
            controller.current, worklist.target, worklist.model, with_evidence=evidence is not None
        )
        self.similar.look_up(controller.current, review.model)

    def _on_similar(self, similar: Similar) -> None:
        current = None if self._review is None else self._review.controller.current
        if current is not None and current.key == similar.key:
            self._panel.show_similar(similar)

    def _on_lookup_end(self, task: BackgroundTask[Similar]) -> None:
        with reporting(self._ui.messageLabel):
            task.check()


class _SimilarLookup:
    """Looks up similar cases of one case at a time, in the background, and keeps them for the review.

    Parameters
    ----------
    found
        Function that takes the similar cases of a case.
    ended
        Function that takes the task at its end; ``task.check()`` raises the error of the task.
    """

    def __init__(self, found: Callable[[Similar], None], ended: Callable[[Any], None]) -> None:
        self.runner = TaskRunner()
        self._found = found
        self._ended = ended
        self._known: dict[str, Similar] = {}

    def look_up(self, case: Case, model: LazyModel | None) -> None:
        """Hand over the similar cases of a case, at once if they are known."""
        from BoneXRayReviewLib.inference import find_similar

        self.runner.abandon()
        if case.key in self._known:
            self._found(self._known[case.key])
        elif model is not None and case.decision is not None:
            task = BackgroundTask(lambda own: find_similar(own, case, model))
            self.runner.run(task, self._take, self._ended)

    def clear(self) -> None:
        """Forget all cases: another review begins."""
        self.runner.abandon()
        self._known.clear()

    def _take(self, similar: Similar) -> None:
        self._known[similar.key] = similar
        self._found(similar)
