"""Two ways of doing the same job, measured in turns, and what a row of the table says of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

__all__ = ["Row", "Side", "Spread", "not_measured", "row", "seconds", "take_turns"]


class Spread(msgspec.Struct, frozen=True):
    """Median, smallest and largest of all rounds."""

    median: float
    low: float
    high: float


class Side(msgspec.Struct, frozen=True):
    """One of the two."""

    label: str
    unit: str
    value: Spread


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    name: str
    ours: Side | None
    other: Side | None
    ratio: Spread | None
    """``ours`` over ``other``, round by round; None: not measured."""
    aim: str
    met: bool | None
    rounds: int
    note: str = ""
    details: dict[str, float] = {}
    """More figures of the same run, as the stages of a whole."""


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def take_turns(measures: Sequence[Callable[[], float]], rounds: int, warm_up: int = 1) -> list[list[float]]:
    """Values [len(measures), rounds]; every round measures each once, so that a busy machine slows all alike.

    Parameters
    ----------
    measures
        Each does its job and returns what is measured.
    rounds
        How often.
    warm_up
        Rounds before these that do not count.
    """
    values: list[list[float]] = [[] for _ in measures]
    for turn in range(warm_up + rounds):
        for kept, measure in zip(values, measures, strict=True):
            value = measure()
            if turn >= warm_up:
                kept.append(value)
    return values


def row(
    name: str,
    ours: tuple[str, Sequence[float]],
    other: tuple[str, Sequence[float]],
    *,
    unit: str,
    aim: str,
    limit: float,
    note: str = "",
    details: dict[str, float] | None = None,
) -> Row:
    """A measured row.

    Parameters
    ----------
    name
        What is compared.
    ours, other
        Label and values of every round.
    unit
        Of the values.
    aim
        In words; begins with ``at least`` or ``at most``.
    limit
        The ratio of the aim.
    note, details
        See :class:`Row`.
    """
    ratios = np.divide(ours[1], other[1])
    median = float(np.median(ratios))
    return Row(
        name=name,
        ours=Side(ours[0], unit, _spread(ours[1])),
        other=Side(other[0], unit, _spread(other[1])),
        ratio=_spread(ratios.tolist()),
        aim=aim,
        met=median >= limit if aim.startswith("at least") else median <= limit,
        rounds=len(ratios),
        note=note,
        details=details or {},
    )


def not_measured(name: str, aim: str, why: str) -> Row:
    """A row whose parts are not on this machine."""
    return Row(name=name, ours=None, other=None, ratio=None, aim=aim, met=None, rounds=0, note=why)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.median(values)), float(min(values)), float(max(values)))
