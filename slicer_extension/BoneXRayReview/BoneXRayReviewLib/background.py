"""Long work in a thread, whose items the main thread takes. No scene and no window here."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["BackgroundTask", "Cancelled"]

T = TypeVar("T")

# Between calls into Python, Slicer's main thread keeps the interpreter's lock, and a thread would hardly run.
# Waiting for an item hands the lock over; the wait is too short to be felt in the window.
_WAIT_SECONDS = 0.01


class Cancelled(Exception):
    """Raised inside work that the reader asked to stop."""


class BackgroundTask(Generic[T]):
    """Work that begins at once, and hands over items while it runs.

    Parameters
    ----------
    work
        Function to run in a thread. It calls :meth:`put` for each item, and :meth:`stop_if_cancelled` between
        two of them.
    """

    def __init__(self, work: Callable[[BackgroundTask[T]], None]) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._stop = threading.Event()
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="BoneXRayReview")
        self._future: Future[None] = executor.submit(work, self)
        executor.shutdown(wait=False)

    @property
    def cancelled(self) -> bool:
        """Whether the work was asked to stop."""
        return self._stop.is_set()

    def stop_if_cancelled(self) -> None:
        """Stop here if the work was asked to; the work calls this.

        Raises
        ------
        Cancelled
            If the work was asked to stop.
        """
        if self.cancelled:
            raise Cancelled

    def put(self, item: T) -> None:
        """Hand an item over; the work calls this."""
        self._items.put(item)

    def cancel(self) -> None:
        """Ask the work to stop at the next place where it can."""
        self._stop.set()

    def poll(self) -> list[T]:
        """Take the items since the last call; a timer of the main thread calls this."""
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
        """Raise the error of the finished work, unless the work was asked to stop."""
        error = self._future.exception()
        if error is not None and not isinstance(error, Cancelled):
            raise error
