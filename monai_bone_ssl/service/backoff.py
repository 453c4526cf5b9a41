"""Pauses between attempts."""

from __future__ import annotations

import numpy as np

__all__ = ["Backoff"]


class Backoff:
    """Pauses that double, each shortened by chance so that not all studies come back at once.

    Parameters
    ----------
    first, longest
        First and longest pause, in seconds.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._chance = np.random.default_rng()

    def seconds(self, attempts: int) -> float:
        """Pause in seconds after a number of attempts, 1 or more."""
        # More than 60 doublings are longer than any pause, and would overflow a float in the end.
        pause = min(self._longest, self._first * 2.0 ** min(attempts - 1, 60))
        return pause * float(self._chance.uniform(0.5, 1))
