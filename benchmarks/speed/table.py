"""From rows to results.json and to the table in docs/performance.md."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.speed.ratio import Row, Side, Spread
from monai_bone_ssl.threads import available_cores

__all__ = ["Results", "machine", "markdown", "update_page", "write_results"]

_BEGIN, _END = "<!-- table -->", "<!-- /table -->"

_LIBRARIES = ("onnxruntime", "torch", "numpy", "pydicom", "highdicom", "imagecodecs", "pillow")


class Results(msgspec.Struct, frozen=True):
    """Content of results.json."""

    machine: dict[str, str]
    """Processor, load and versions of the machine that measured last."""
    rows: list[Row]
    """Rows of the table."""


def machine() -> dict[str, str]:
    """Processor, load and versions of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    entries = dict(line.split(":", 1) for line in lines if ":" in line)
    cpu = {key.strip(): value.strip() for key, value in entries.items()}
    vector = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "amx_int8") if flag in cpu.get("flags", "")]
    return {
        "processor": f"{cpu.get('model name', platform.processor())} ({', '.join(vector)})",
        "cores": str(available_cores()),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        **{library: version(library) for library in _LIBRARIES},
    }


def write_results(results: Results, path: Path) -> Results:
    """Write results.json; rows of an earlier run that were not measured now are kept.

    Returns
    -------
    New content of the file.
    """
    fresh = {row.name: row for row in results.rows}
    if path.is_file():
        earlier = msgspec.json.decode(path.read_bytes(), type=Results).rows
        rows = [fresh.pop(row.name, row) for row in earlier] + list(fresh.values())
        results = Results(results.machine, rows)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    return results


def markdown(results: Results) -> str:
    """The table in Markdown, and below it the details of rows that have some."""
    lines = [
        "| row | ours | other side | ratio (lowest to highest) | aim | met |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in results.rows]
    for row in results.rows:
        if row.details:
            lines += ["", f"{row.name}: " + ", ".join(f"{k} {v:.4g}" for k, v in row.details.items())]
    facts = ", ".join(f"{key} {value}" for key, value in results.machine.items())
    return "\n".join([*lines, "", f"Measured on: {facts}.", ""])


def update_page(page: Path, table: str) -> None:
    """Put the table between the two marks of a page."""
    head, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    page.write_text(f"{head}{_BEGIN}\n{table}{_END}{tail}", encoding="utf-8")


def _line(row: Row) -> str:
    met = {True: "yes", False: "no", None: ""}[row.met]
    note = f" ({row.note})" if row.note else ""
    if row.ratio is None:
        return f"| {row.name} | | | not measured: {row.note} | {row.aim} | |"
    sides = f"{_side(row.ours)} | {_side(row.other)}"
    return f"| {row.name}{note} | {sides} | {_text(row.ratio)} | {row.aim} | {met} |"


def _side(side: Side | None) -> str:
    return "" if side is None else f"{side.label}: {side.value.median:.4g} {side.unit}".strip()


def _text(spread: Spread) -> str:
    return f"**{spread.median:.3f}** ({spread.low:.3f} to {spread.high:.3f})"
