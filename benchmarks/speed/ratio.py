"""Two ways of doing the same job, measured in turns, and the row of the table that compares them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

__all__ = ["Row", "Side", "Spread", "not_measured", "row", "seconds", "take_turns"]


class Spread(msgspec.Struct, frozen=True):
    """Median, smallest and largest value of all rounds."""

    median: float
    """Median value."""
    low: float
    """Smallest value."""
    high: float
    """Largest value."""


class Side(msgspec.Struct, frozen=True):
    """A way of doing a job, and what was measured of it."""

    label: str
    """Name of the side."""
    unit: str
    """Unit of the values."""
    value: Spread
    """Values of all rounds."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table."""

    name: str
    """Name of the row."""
    ours: Side | None
    """This package's side; None where it was not measured."""
    other: Side | None
    """The side to compare with; None where it was not measured."""
    ratio: Spread | None
    """``ours`` over ``other``, round by round; None where it was not measured."""
    aim: str
    """Aim for the ratio, in words."""
    met: bool | None
    """Whether the median ratio meets the aim; None where it was not measured."""
    rounds: int
    """Number of rounds."""
    note: str = ""
    """Remark for the table."""
    details: dict[str, float] = {}
    """More figures of the same run, such as the stages of a whole."""


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def take_turns(measures: Sequence[Callable[[], float]], rounds: int, warm_up: int = 1) -> list[list[float]]:
    """Measure in rounds, each measure once in a round, so that a busy machine slows all alike.

    Parameters
    ----------
    measures
        Functions that do a job and return the measured value.
    rounds
        Number of rounds that count.
    warm_up
        Number of rounds before these, which do not count.

    Returns
    -------
    Values [len(measures), rounds].
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
        Name of the row.
    ours, other
        Label of each side, and its values in every round.
    unit
        Unit of the values.
    aim
        Aim for the ratio in words, beginning with ``at least`` or ``at most``.
    limit
        Ratio that the aim names.
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
    """A row that could not be measured on this machine, with the reason."""
    return Row(name=name, ours=None, other=None, ratio=None, aim=aim, met=None, rounds=0, note=why)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.median(values)), float(min(values)), float(max(values)))
