"""The section with the button that runs the model on the images without a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from BoneXRayReviewLib.background import BackgroundTask
from BoneXRayReviewLib.messages import reporting, say

if TYPE_CHECKING:
    from BoneXRayReviewLib.inference import Analysed
    from BoneXRayReviewLib.review_start import Review
    from BoneXRayReviewLib.tasks import TaskRunner

__all__ = ["AnalysisPanel"]


class AnalysisPanel:
    """Analyses images in the background, while the reader reads on.

    Parameters
    ----------
    ui
        The panel's widgets.
    runner
        Runner of the background work.
    analysed
        Function that takes the key of each case that has a result now.
    """

    def __init__(self, ui: Any, runner: TaskRunner, analysed: Callable[[str], None]) -> None:
        self._ui = ui
        self._runner = runner
        self._analysed = analysed
        self._review: Review | None = None
        ui.analyseButton.connect("clicked()", self.analyse)
        self.set_review(None)

    def set_review(self, review: Review | None) -> None:
        """Work on another review; None for no review."""
        self._review = review
        self._ui.analyseButton.enabled = review is not None and review.model is not None

    def analyse(self) -> None:
        """Run the model on the images without a result, the open one first."""
        from BoneXRayReviewLib.inference import analyse_cases

        if self._review is None or self._review.model is None or self._runner.busy:
            return
        waiting, model = self._review.controller.unanalysed, self._review.model
        task = BackgroundTask(lambda own: analyse_cases(own, waiting, model))
        self._runner.run(task, self._on_item, self._on_end, total=len(waiting))

    def _on_item(self, item: Analysed) -> None:
        with reporting(self._ui.messageLabel):
            self._review.controller.set_finding(item.key, item.finding, item.points, item.evidence)
            self._analysed(item.key)

    def _on_end(self, task: BackgroundTask[Analysed]) -> None:
        with reporting(self._ui.messageLabel):
            task.check()
            say(self._ui.messageLabel, "The analysis was stopped." if task.cancelled else "")
