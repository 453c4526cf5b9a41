"""Long work in a thread, its items taken by the main thread: no scene and no window here."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["BackgroundTask", "Cancelled"]

T = TypeVar("T")

# Between calls into Python, Slicer's main thread keeps the interpreter's lock, and a thread would hardly run.
# Waiting for an item hands it the lock; short enough not to be felt in the window.
_WAIT_SECONDS = 0.01


class Cancelled(Exception):
    """Ends work that somebody asked to stop."""


class BackgroundTask(Generic[T]):
    """Work that hands over items while it runs; begins at once.

    Parameters
    ----------
    work
        Runs in a thread of its own, calls :meth:`put` for each item, :meth:`stop_if_cancelled` between them.
    """

    def __init__(self, work: Callable[[BackgroundTask[T]], None]) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._stop = threading.Event()
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="BoneXRayReview")
        self._future: Future[None] = executor.submit(work, self)
        executor.shutdown(wait=False)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the work to stop."""
        return self._stop.is_set()

    def stop_if_cancelled(self) -> None:
        """Called by the work where it may be stopped.

        Raises
        ------
        Cancelled
            If somebody asked for it.
        """
        if self.cancelled:
            raise Cancelled

    def put(self, item: T) -> None:
        """Hand an item over; called by the work."""
        self._items.put(item)

    def cancel(self) -> None:
        """Ask the work to stop; it finishes what it has begun."""
        self._stop.set()

    def poll(self) -> list[T]:
        """Items since the last call; called by the main thread, by a timer."""
        items = []
        try:
            items.append(self._items.get(timeout=_WAIT_SECONDS))
            while True:
                items.append(self._items.get_nowait())
        except queue.Empty:
            return items

    @property
    def finished(self) -> bool:
        """Whether the work has returned or failed, and every item was taken."""
        return self._future.done() and self._items.empty()

    def check(self) -> None:
        """Raise what the finished work raised, unless it was stopped."""
        error = self._future.exception()
        if error is not None and not isinstance(error, Cancelled):
            raise error
