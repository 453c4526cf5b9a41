"""Rows of MODEL_CARD.md's table, from the out-of-fold figures that ``bone-ssl fit`` wrote beside a model.

    python -m benchmarks.model_card MODEL_DIR

The first value is from grouped folds, the second with the image's acquisition range left out. Operating
points and calibration were fixed on the second, so that their own figures are slightly too good there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

_RUNS = ("grouped_folds", "range_left_out")
_FIGURES = {
    "auroc": "AUROC",
    "auroc_within_cells": "AUROC within cells",
    "sensitivity_at_high_sensitivity": "sensitivity at the lower operating point",
    "specificity_at_high_specificity": "specificity at the upper operating point",
    "indeterminate": "answered indeterminate",
    "sensitivity_at_specificity_85": "sensitivity at specificity 0.85",
    "sensitivity_at_specificity_90": "sensitivity at specificity 0.90",
    "balanced_accuracy": "balanced accuracy at probability 0.5",
    "kappa": "Cohen's kappa at probability 0.5",
    "ece": "expected calibration error, 15 bins",
}


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return ""
    low, high = figure["ci_low"], figure["ci_high"]
    interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
    return f"{figure['value']:.3f}{interval}"


def _subsets(metrics: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "all images", metrics
    yield from ((name, metrics["per_part"][name]) for name in ("hand", "leg") if name in metrics["per_part"])
    if metrics["without_hardware"] is not None:
        yield "without hardware", metrics["without_hardware"]


def _localisation(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = metrics["localisation"]
    regions = found["regions"]
    rows = {
        "pointing game: highest patch inside an outlined fracture": {
            "value": found["pointing_game"],
            "ci_low": found["ci_low"],
            "ci_high": found["ci_high"],
        },
        "outlined fractures hit by a drawn region": regions["outlines_hit"],
        "false regions drawn an image": regions["false_regions"],
    }
    for rate, figure in regions["sensitivity_at_false_regions"].items():
        rows[f"outlined fractures hit at {rate} false regions an image"] = figure
    return rows


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder that bone-ssl fit wrote")
    folder = parser.parse_args().model / "validation"
    runs = [msgspec.json.decode((folder / run / "metrics.json").read_bytes()) for run in _RUNS]
    for subset, both in zip(dict(_subsets(runs[0])), zip(*map(_subsets, runs), strict=True), strict=True):
        for name, words in _FIGURES.items():
            cells = [_cell(figures.get(name)) for _, figures in both]
            print(f"| {words}, {subset} | {both[0][1]['n']:,} | {' | '.join(cells)} |")
    located = [_localisation(metrics) for metrics in runs]
    for words in located[0]:
        cells = [_cell(rows[words]) for rows in located]
        print(f"| {words} | {runs[0]['localisation']['n']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
