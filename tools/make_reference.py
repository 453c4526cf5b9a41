"""Write the generated pages of docs/reference from the code: ``python tools/make_reference.py``.

Each page is a template in tools/reference/pages: prose, and ``{{ name }}`` alone on a line where a table from
the code goes.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from textwrap import indent

_ROOT = Path(__file__).parent.parent
_PAGES = Path(__file__).parent / "reference" / "pages"


def main() -> None:
    """Write all pages."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/reference.")
    parser.add_argument("-o", "--out", type=Path, default=_ROOT / "docs" / "reference", help="folder")
    out = parser.parse_args().out
    os.environ["COLUMNS"] = "100"  # argparse breaks lines as the terminal is wide
    out.mkdir(parents=True, exist_ok=True)
    for template in sorted(_PAGES.glob("*.md")):
        (out / template.name).write_text(_fill(template), encoding="utf-8")
    from reference.structs import result_schema

    (out / "result.schema.json").write_bytes(result_schema())


def _fill(template: Path) -> str:
    from reference import TABLES

    text = template.read_text(encoding="utf-8")
    return re.sub(r"^( *)\{\{ (\w+) \}\}$", lambda m: indent(TABLES[m[2]](), m[1]), text, flags=re.MULTILINE)


if __name__ == "__main__":
    main()
