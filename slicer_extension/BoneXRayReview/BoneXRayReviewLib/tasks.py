"""Background work with the panel's progress bar and cancel button, one task at a time."""

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
        Widgets to show while a task runs; None for work that nobody waits for.
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
            Task that has begun already.
        take
            Function that takes each item, in the main thread.
        end
            Function that takes the task at its end; ``task.check()`` raises the error of the task.
        total
            Number of items; 0 where the number is not known.
        """
        self._task, self._take, self._end = task, take, end
        self.show_progress(0, total)
        self._show(True)
        self._timer.start()

    def show_progress(self, done: int, total: int) -> None:
        """Show the progress of a task that does not make one item a step."""
        self._done, self._total = done, total
        if self._bar is not None:
            self._bar.maximum = total
            self._bar.value = done

    def cancel(self) -> None:
        """Ask the task to stop, and follow it until it has stopped."""
        if self._task is not None:
            self._task.cancel()
        if self._button is not None:
            self._button.enabled = False

    def abandon(self) -> None:
        """Ask the task to stop, and follow it no longer."""
        self.cancel()
        self._release()

    def poll(self) -> None:
        """Take the items that the task has made; the timer calls this."""
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
    """Take an item, and do nothing."""
