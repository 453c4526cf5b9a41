"""Work for the processor's cores: how many there are, and one function on many items in their order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["available_cores", "images_at_once", "map_in_order"]

# Each holds its pixels and the network's intermediate values in memory: some 200 MB.
_MOST_AT_ONCE = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Cores that the operating system lets this process run on: a container may have a few of many."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def images_at_once(files: int) -> tuple[int, int]:
    """How many images to analyse at the same time, and how many threads to give the model for each.

    One image at a time leaves cores idle while it is read, drawn and written; one image a core does not, but
    it takes several files to have one.

    Parameters
    ----------
    files
        Number of files to analyse.

    Returns
    -------
    images
        For :func:`~monai_bone_ssl.pipeline.analyse`.
    threads
        For :class:`~monai_bone_ssl.model.inference.Model`.
    """
    cores = available_cores()
    images = max(1, min(files, cores, _MOST_AT_ONCE))
    return images, cores // images


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[Result, None, None]:
    """Like ``map``, on several threads.

    Unlike :meth:`concurrent.futures.Executor.map` it begins only as many items as threads will soon need, so
    that few results wait in memory, and after an error little is done in vain.

    Raises
    ------
    Exception
        What ``function`` raises; items that have not begun are left.
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
