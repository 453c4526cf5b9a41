"""Work for the processor's cores: how many there are, and one function on many items in their order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["available_cores", "images_at_once", "map_in_order"]

# An image in work holds pixels and the network's intermediate values: some 200 MB.
_MAX_AT_ONCE = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Number of cores that the operating system gives this process: in a container, a few of many."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def images_at_once(files: int) -> tuple[int, int]:
    """Divide the cores between images.

    One image at a time leaves cores idle while it is read, drawn and written; one image a core does not.

    Parameters
    ----------
    files
        Number of files to analyse.

    Returns
    -------
    images
        Number of images to analyse at the same time.
    threads
        Number of threads of the model for each of them.
    """
    cores = available_cores()
    images = max(1, min(files, cores, _MAX_AT_ONCE))
    return images, cores // images


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[Result, None, None]:
    """Call a function with each item on several threads, and yield the results in the items' order.

    Unlike :meth:`concurrent.futures.Executor.map`, only as many items begin as the threads will soon need:
    few results wait in memory, and after an error little is done in vain.

    Raises
    ------
    Exception
        Whatever the function raises; items that have not begun are left out.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
