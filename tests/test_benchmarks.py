"""What the documentation says of speed is what was measured."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.speed.ratio import not_measured, row, take_turns
from benchmarks.speed.table import Results, markdown, update_page, write_results

ROOT = Path(__file__).parents[1]


def test_the_page_shows_the_results_in_the_repository(tmp_path: Path) -> None:
    results = msgspec.json.decode((ROOT / "benchmarks" / "results.json").read_bytes(), type=Results)
    page = ROOT / "docs" / "performance.md"
    copy = tmp_path / "page.md"
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    update_page(copy, markdown(results))
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


def test_a_row_is_judged_by_the_median_of_its_rounds() -> None:
    least = row("a", ("x", [3, 30, 4]), ("y", [1, 1, 1]), unit="s", aim="at least 4", limit=4)
    most = row("a", ("x", [3, 30, 4]), ("y", [1, 1, 1]), unit="s", aim="at most 3.9", limit=3.9)
    assert (least.met, most.met) == (True, False)
    assert least.ratio is not None
    assert (least.ratio.median, least.ratio.low, least.ratio.high) == (4, 3, 30)


def test_a_row_that_was_not_measured_says_why() -> None:
    table = markdown(Results({}, [not_measured("gpu", "at least 1", "no GPU here")]))
    assert "not measured: no GPU here" in table


def test_measures_take_turns_and_the_warm_up_does_not_count() -> None:
    called: list[str] = []

    def measure(name: str) -> float:
        called.append(name)
        return len(called)

    values = take_turns([lambda: measure("a"), lambda: measure("b")], rounds=2)
    assert "".join(called) == "ababab"
    assert values == [[3, 5], [4, 6]]


def test_rows_that_were_not_measured_now_stay(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    rows = [not_measured(name, "at least 1", "first") for name in ("a", "b")]
    write_results(Results({}, rows), path)
    again = write_results(
        Results({}, [not_measured(name, "at least 1", "second") for name in ("b", "c")]), path
    )
    assert [(row.name, row.note) for row in again.rows] == [("a", "first"), ("b", "second"), ("c", "second")]
    assert msgspec.json.decode(path.read_bytes(), type=Results) == again
