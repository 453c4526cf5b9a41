"""The rooms of the package, each above the rooms that it may import."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from architecture.svg import Drawing

__all__ = ["Rooms", "at_the_bottom", "at_the_top", "direct", "draw_rooms", "rooms_table"]

#: For each room, other rooms.
Rooms = Mapping[str, set[str]]

_BOX, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 112, 42, 14, 30, 16
_TRAINING = "training."


def at_the_bottom(allowed: Rooms) -> list[str]:
    """Rooms that every room may import."""
    return sorted(room for room in allowed if all(room in others for others in allowed.values()))


def at_the_top(allowed: Rooms) -> list[str]:
    """Rooms that may import every other room."""
    return sorted(room for room in allowed if {room, *_spelt_out(room, allowed)} == allowed.keys())


def direct(allowed: Rooms) -> Rooms:
    """For each room in between, the rooms that it may import and that none of the others may import for it.

    Parameters
    ----------
    allowed
        For each room, all rooms that it may import; ``a.*`` stands for every room whose name begins with
        ``a.``.
    """
    ends = {*at_the_bottom(allowed), *at_the_top(allowed)}
    every = {room: _spelt_out(room, allowed) - {room, *ends} for room in allowed if room not in ends}
    return {
        room: {name for name in others if not any(name in every[between] for between in others)}
        for room, others in every.items()
    }


def draw_rooms(allowed: Rooms) -> str:
    """Draw the rooms as an SVG: the core to the left, training to the right, each room above what it imports.

    Arrows lead to the row below; rooms further down that a room may import directly stand in its box.
    """
    arrows = direct(allowed)
    levels: dict[str, int] = {}
    for room in arrows:
        _level(room, arrows, levels)
    centres, width = _place(arrows, levels)
    bottom = (max(levels.values()) + 2) * (_HEIGHT + _GAP_Y) + _MARGIN
    drawing = Drawing(
        width, bottom + _HEIGHT + _MARGIN, "Rooms of the package, each above what it may import"
    )
    tops = {room: bottom - (levels[room] + 1) * (_HEIGHT + _GAP_Y) for room in arrows}
    for room, others in arrows.items():
        below = sorted(name for name in others if levels[name] == levels[room] - 1)
        for name in below:
            _draw_arrow(drawing, centres[room], tops[room] + _HEIGHT, centres[name], tops[name])
        also = ", ".join(name.removeprefix(_TRAINING) for name in sorted(others.difference(below)))
        words = f"and {also}" if also else ""
        _draw_bar(drawing, centres[room], tops[room], _BOX, room.removeprefix(_TRAINING), words)
    _frame_training(drawing, centres, tops)
    whole = width - 2 * _MARGIN
    names = [", ".join(filter(None, end(allowed))) for end in (at_the_top, at_the_bottom)]
    _draw_bar(drawing, width / 2, _MARGIN, whole, names[0], "may import every room")
    _draw_bar(drawing, width / 2, bottom, whole, names[1], "may be imported by every room")
    return drawing.render()


def rooms_table(allowed: Rooms, package: Path) -> str:
    """A Markdown table of the rooms and of the first line that each says of itself.

    Parameters
    ----------
    allowed
        See :func:`direct`; its order is that of the table, after the rooms that every room may import.
    package
        The package's folder.
    """
    order = [name for room in [*at_the_bottom(allowed), *allowed] for name in (room.partition(".")[0], room)]
    rows = ["| room | subject |", "|---|---|"]
    for room in filter(None, dict.fromkeys(order)):
        folder = package / room.replace(".", "/")
        file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        name = f"{folder.relative_to(package)}/" if folder.is_dir() else str(file.relative_to(package))
        rows.append(f"| `{name}` | {docstring.partition(chr(10))[0].replace('``', '`')} |")
    return "\n".join(rows)


def _spelt_out(room: str, allowed: Rooms) -> set[str]:
    """All rooms that one may import, without abbreviations."""
    prefixes = tuple(name.removesuffix("*") for name in allowed[room] if name.endswith(".*"))
    return {name for name in allowed if name in allowed[room] or name.startswith(prefixes)}


def _level(room: str, arrows: Rooms, levels: dict[str, int]) -> int:
    """Row of a room from below: one above the highest that it imports."""
    if room not in levels:
        levels[room] = 1 + max((_level(other, arrows, levels) for other in arrows[room]), default=-1)
    return levels[room]


def _place(arrows: Rooms, levels: Mapping[str, int]) -> tuple[dict[str, float], float]:
    """Centre of each room's box from the left, and the width of the whole picture, in pixels."""
    centres: dict[str, float] = {}
    left = float(_MARGIN)
    for training in (False, True):
        rows: dict[int, list[str]] = {}
        for room in arrows:
            if room.startswith(_TRAINING) == training:
                rows.setdefault(levels[room], []).append(room)
        width = max(map(len, rows.values())) * (_BOX + _GAP_X)
        for row in rows.values():
            for number, room in enumerate(row):
                centres[room] = left + width / 2 + (number - (len(row) - 1) / 2) * (_BOX + _GAP_X)
        left += width + _GAP_X
    return centres, left - _GAP_X / 2 + _MARGIN


def _frame_training(drawing: Drawing, centres: Mapping[str, float], tops: Mapping[str, float]) -> None:
    rooms = [room for room in tops if room.startswith(_TRAINING)]
    left = min(centres[room] for room in rooms) - _BOX / 2 - _GAP_X / 2
    right = max(centres[room] for room in rooms) + _BOX / 2 + _GAP_X / 2
    top, bottom = min(tops[room] for room in rooms) - 10, max(tops[room] for room in rooms) + _HEIGHT + 10
    drawing.path(f"M{left:g},{top:g} H{right:g} V{bottom:g} H{left:g} Z", "bracket")
    drawing.text(left + 10, bottom - 12, "training/", "strong")


def _draw_bar(drawing: Drawing, centre: float, top: float, width: float, name: str, words: str) -> None:
    drawing.box(centre - width / 2, top, width, _HEIGHT)
    drawing.text(centre, top + (19 if words else 27), name, "strong", "middle")
    drawing.text(centre, top + 36, words, "code", "middle")


def _draw_arrow(drawing: Drawing, x: float, y: float, to_x: float, to_y: float) -> None:
    half = (y + to_y) / 2
    drawing.path(f"M{x:g},{y:g} C{x:g},{half:g} {to_x:g},{half:g} {to_x:g},{to_y:g}", "line")
