"""Similar cases of the open case, looked up in the background and kept for the review."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from BoneXRayReviewLib.background import BackgroundTask
from BoneXRayReviewLib.tasks import TaskRunner

if TYPE_CHECKING:
    from BoneXRayReviewLib.inference import LazyModel, Similar
    from monai_bone_ssl.review.worklist import Case

__all__ = ["SimilarLookup"]


class SimilarLookup:
    """Looks up one case at a time; nobody waits for it.

    Parameters
    ----------
    found
        Called with the similar cases of a case.
    ended
        Called with the task at its end; ``task.check()`` raises what went wrong.
    """

    def __init__(self, found: Callable[[Similar], None], ended: Callable[[Any], None]) -> None:
        self.runner = TaskRunner()
        self._found = found
        self._ended = ended
        self._known: dict[str, Similar] = {}

    def look_up(self, case: Case, model: LazyModel | None) -> None:
        """Tell what is known of a case, or find it out."""
        from BoneXRayReviewLib.inference import find_similar

        self.runner.abandon()
        if case.key in self._known:
            self._found(self._known[case.key])
        elif model is not None and case.decision is not None:
            task = BackgroundTask(lambda own: find_similar(own, case, model))
            self.runner.run(task, self._take, self._ended)

    def clear(self) -> None:
        """Forget everything: another review begins."""
        self.runner.abandon()
        self._known.clear()

    def _take(self, similar: Similar) -> None:
        self._known[similar.key] = similar
        self._found(similar)
