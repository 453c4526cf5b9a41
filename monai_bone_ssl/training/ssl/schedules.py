"""Schedules of DINO (arXiv:2104.14294) as pure functions of the step, so that a resumed run needs no state.

``step`` counts optimizer steps from 0; a value holds for the step with that number. From ``steps`` (or
``warmup_steps``) on, the end value stays.
"""

from __future__ import annotations

import math

__all__ = ["cosine", "warmup_constant", "warmup_cosine"]


def cosine(step: int, start: float, end: float, steps: int) -> float:
    """Half a cosine from ``start`` at step 0 to ``end`` at ``steps``."""
    if step >= steps:
        return end
    return end + (start - end) * (1 + math.cos(math.pi * step / steps)) / 2


def warmup_constant(step: int, start: float, end: float, warmup_steps: int) -> float:
    """A line from ``start`` at step 0 to ``end`` at ``warmup_steps``, constant from there on."""
    if step >= warmup_steps:
        return end
    return start + (end - start) * step / warmup_steps


def warmup_cosine(step: int, peak: float, end: float, warmup_steps: int, steps: int) -> float:
    """A line from 0 at step 0 to ``peak`` at ``warmup_steps``, then half a cosine to ``end`` at ``steps``."""
    if step < warmup_steps:
        return warmup_constant(step, 0.0, peak, warmup_steps)
    return cosine(step - warmup_steps, peak, end, steps - warmup_steps)
