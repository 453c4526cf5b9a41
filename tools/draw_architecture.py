"""Refresh docs/explanation/architecture.md: its figures, and its table of rooms.

Run as ``python tools/draw_architecture.py``. What a room may import is read from tests/test_dependencies.py,
which holds every import to it.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from architecture.life import draw_life
from architecture.rooms import draw_rooms, rooms_table

_ROOT = Path(__file__).parent.parent
_PAGE = "explanation/architecture.md"
_TABLE = re.compile(r"(<!-- rooms -->\n).*(<!-- /rooms -->)", re.DOTALL)


def main() -> None:
    """Write the page and its two figures."""
    parser = argparse.ArgumentParser(description="Refresh docs/explanation/architecture.md.")
    parser.add_argument("-o", "--out", type=Path, default=_ROOT / "docs", help="folder like docs/")
    out = parser.parse_args().out
    sys.path.append(str(_ROOT / "tests"))
    from test_dependencies import ALLOWED, PACKAGE

    table = rooms_table(ALLOWED, PACKAGE)
    page = (_ROOT / "docs" / _PAGE).read_text(encoding="utf-8")
    content = {
        "images/rooms.svg": draw_rooms(ALLOWED),
        "images/life_of_an_image.svg": draw_life(),
        _PAGE: _TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", page),
    }
    for name, text in content.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
