"""All rows of docs/performance.md; both sides of a row are measured in turns, in one run.

    python -m benchmarks.speed [--rounds 7] [--images 1000] [--accuracy DATA WEIGHTS] [--only NAME ...]

``make bench`` runs it. BONE_SSL_PEER_PYTHON names the interpreter of an environment with the MONAI Deploy App
SDK, monai and torch, for the rows against an application made as the SDK's examples are; without it they say
"not measured". DATA and WEIGHTS are FracAtlas and the backbone, for the row of accuracy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.speed.accuracy import accuracy_row
from benchmarks.speed.command_line import cold_start_rows, install_rows, throughput_row
from benchmarks.speed.network import network_rows
from benchmarks.speed.ratio import Row, not_measured
from benchmarks.speed.table import Results, machine, markdown, update_page, write_results
from benchmarks.speed.whole_path import whole_path_rows

_ROOT = Path(__file__).parents[2]
_RESULTS = _ROOT / "benchmarks" / "results.json"
_PAGE = _ROOT / "docs" / "performance.md"


def main() -> None:
    """Measure, write results.json, put the whole table into docs/performance.md, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each side (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1000, help="for throughput (default: %(default)s)")
    parser.add_argument("--accuracy", nargs=2, type=Path, metavar=("DATA", "WEIGHTS"))
    parser.add_argument("--accuracy-images", type=int, default=400)
    parser.add_argument("--out", type=Path, default=_RESULTS, help="default: benchmarks/results.json")
    jobs = {
        "network": lambda a: network_rows(a.rounds),
        "whole-path": lambda a: whole_path_rows(a.rounds),
        "cold-start": lambda a: cold_start_rows(a.rounds),
        "throughput": lambda a: [throughput_row(a.images)],
        "install": lambda a: install_rows(a.rounds),
        "gpu": lambda _: [not_measured("onnxruntime on CUDA", "results within 1e-3", "no GPU here")],
        "accuracy": _accuracy,
    }
    parser.add_argument(
        "--only",
        nargs="+",
        choices=jobs,
        default=list(jobs),
        metavar="JOB",
        help=f"{', '.join(jobs)}; other rows stay as they are",
    )
    arguments = parser.parse_args()
    description, rows = machine(), []
    for name in arguments.only:
        rows += _announced(name, jobs[name], arguments)
        results = write_results(Results(description, rows), arguments.out)
    table = markdown(results)
    if arguments.out == _RESULTS:
        update_page(_PAGE, table)
    sys.stdout.write(table)


def _announced(
    name: str, job: Callable[[argparse.Namespace], Iterable[Row]], arguments: argparse.Namespace
) -> list[Row]:
    sys.stderr.write(f"measuring: {name}\n")
    return list(job(arguments))


def _accuracy(arguments: argparse.Namespace) -> list[Row]:
    if arguments.accuracy is None:
        return [not_measured("accuracy kept", "at least 0.998", "--accuracy DATA WEIGHTS was not given")]
    data, weights = arguments.accuracy
    return [accuracy_row(data, weights, arguments.accuracy_images)]


if __name__ == "__main__":
    main()
