"""Background work with the panel's progress bar and cancel button; one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from BoneXRayReviewLib.background import BackgroundTask

__all__ = ["TaskRunner"]

_INTERVAL_MS = 100


class TaskRunner:
    """Polls one task with a timer, in the main thread.

    Parameters
    ----------
    progress_bar, cancel_button
        Widgets that are shown while a task runs; None for work that nobody waits for.
    """

    def __init__(self, progress_bar: Any = None, cancel_button: Any = None) -> None:
        self._bar = progress_bar
        self._button = cancel_button
        self._task: BackgroundTask[Any] | None = None
        self._done = self._total = 0
        self._take: Callable[[Any], None] = _ignore
        self._end: Callable[[BackgroundTask[Any]], None] = _ignore
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.connect("timeout()", self.poll)
        if cancel_button is not None:
            cancel_button.connect("clicked()", self.cancel)
        self._show(False)

    @property
    def busy(self) -> bool:
        """Whether a task runs."""
        return self._task is not None

    def run(
        self,
        task: BackgroundTask[Any],
        take: Callable[[Any], None],
        end: Callable[[BackgroundTask[Any]], None],
        total: int = 0,
    ) -> None:
        """Follow a task.

        Parameters
        ----------
        task
            Has begun already.
        take
            Called for each item, in the main thread.
        end
            Called once at its end; ``task.check()`` raises what went wrong.
        total
            Number of items; 0 where it is not known.
        """
        self._task, self._take, self._end = task, take, end
        self.show_progress(0, total)
        self._show(True)
        self._timer.start()

    def show_progress(self, done: int, total: int) -> None:
        """Show how far a task is; one that makes an item a step needs no call."""
        self._done, self._total = done, total
        if self._bar is not None:
            self._bar.maximum = total
            self._bar.value = done

    def cancel(self) -> None:
        """Ask the task to stop; it goes on being followed until it has."""
        if self._task is not None:
            self._task.cancel()
        if self._button is not None:
            self._button.enabled = False

    def abandon(self) -> None:
        """Ask the task to stop, and follow it no longer: nobody wants its items any more."""
        self.cancel()
        self._release()

    def poll(self) -> None:
        """Take what the task has made; called by the timer."""
        task = self._task
        if task is None:
            return
        for item in task.poll():
            self.show_progress(self._done + 1, self._total)
            self._take(item)
        if self._task is task and task.finished:
            end = self._end
            self._release()
            end(task)

    def _release(self) -> None:
        self._task = None
        self._timer.stop()
        self._show(False)

    def _show(self, shown: bool) -> None:
        for widget in (self._bar, self._button):
            if widget is not None:
                widget.visible = shown
                widget.enabled = True


def _ignore(_: Any) -> None:
    """Nothing to do."""
