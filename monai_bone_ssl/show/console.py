"""Results as a person at a terminal reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_bone_ssl.dicom.stream import file_name
from monai_bone_ssl.findings import (
    UNVERIFIED,
    Answered,
    Target,
    describe_body_part,
    describe_image,
    describe_regions,
    radiographs,
)
from monai_bone_ssl.show.results import Results
from monai_bone_ssl.wording import counted

__all__ = ["results_summary", "results_table"]

_HEADINGS = ("image", "body part", "answer", "regions")


def results_table(results: Results, target: Target, out: Path) -> str:
    """Results as a table with one line an image, and the files with more."""
    rows = [
        (
            file_name(Path(image.path)),
            describe_body_part(image.body_part) if image.body_part else "-",
            describe_image(image, target),
            describe_regions(image.regions) if isinstance(image, Answered) else "-",
        )
        for image in results.images
    ]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    lines = [_line(_HEADINGS, widths), _line(["-" * width for width in widths], widths)]
    lines += [_line(row, widths) for row in rows]
    lines += ["", results_summary(results)]
    lines += [f"Pictures: {out / 'index.html'}", f"Results:  {out / 'result.json'}"]
    lines += ["Viewers:  OHIF draws a report's words right of the image; zoom out where they are cut"]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def results_summary(results: Results) -> str:
    """Results in one line without a file's name, for logs."""
    analysed = sum(isinstance(image, Answered) for image in results.images)
    n_radiographs = len(radiographs(results.images))
    others = len(results.images) - n_radiographs
    reports = sum(study.sr_path is not None for study in results.studies)
    counts = [
        f"{analysed} of {counted(n_radiographs, 'image')} analysed",
        *([counted(others, "other file")] if others else []),
        counted(len(results.studies), "study", "studies"),
        f"{counted(reports, 'report')} (DICOM SR)",
    ]
    return f"{', '.join(counts)}. {UNVERIFIED}."
