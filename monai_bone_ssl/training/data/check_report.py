"""The result of a data check, for people (a text) and for programs (JSON, CSV)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import msgspec

from monai_bone_ssl.training.data.check import DataCheck, Problem, ProblemKind, Sizes

__all__ = ["check_json", "check_text", "problems_csv"]

_TITLES = {
    ProblemKind.PATIENT_IN_BOTH_SPLITS: "patients in both splits",
    ProblemKind.CONTRADICTION: "contradictions in the lists",
    ProblemKind.LISTED_TWICE: "images listed twice",
    ProblemKind.MISSING: "missing files",
    ProblemKind.UNREADABLE: "unreadable images",
    ProblemKind.BLANK: "blank images",
    ProblemKind.COLOUR: "colour images",
    ProblemKind.UNSUPPORTED: "no radiographs",
    ProblemKind.INVERTED: "images that look inverted",
    ProblemKind.SAME_PICTURE: "pictures that occur more than once",
    ProblemKind.SIMILAR_PICTURE: "pairs of almost the same picture",
    ProblemKind.STUDY_LABELS_DIFFER: "studies with both labels",
}
_EXAMPLES = 3


def check_json(check: DataCheck) -> bytes:
    """Strict JSON, indented, UTF-8."""
    return msgspec.json.format(msgspec.json.encode(check), indent=2) + b"\n"


def problems_csv(problems: Sequence[Problem]) -> bytes:
    """One line an image of a problem, or a problem without images: a table to sort and filter.

    Columns: number of the problem, kind, note (0 or 1), across, image, text.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(("problem", "kind", "note", "across", "image", "text"))
    for number, problem in enumerate(problems, start=1):
        for image in problem.images or ("",):
            writer.writerow(
                (number, problem.kind, int(problem.note), " ".join(problem.across), image, problem.text)
            )
    return file.getvalue().encode()


def check_text(check: DataCheck) -> str:
    """What a person at a terminal reads."""
    parts = [f"{check.source}: {check.images} images of {check.groups} groups", _counts_table(check)]
    if check.sizes is not None:
        parts.append(_sizes_line(check.sizes))
    problems = [problem for problem in check.problems if not problem.note]
    notes = [problem for problem in check.problems if problem.note]
    parts += [_listing("Problems", problems), _listing("Notes", notes)]
    parts.append("No problems." if check.is_clean else f"Problems: {len(problems)}.")
    return "\n\n".join(part for part in parts if part)


def _counts_table(check: DataCheck) -> str:
    rows = [("part", "split", "label", "images", "studies", "groups")]
    for count in check.counts:
        studies = "-" if count.studies is None else str(count.studies)
        label = ("0 negative", "1 positive")[count.label]
        rows.append((count.part, count.split or "-", label, str(count.images), studies, str(count.groups)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([*lines, "A group is a patient, or what stands for one; it is never split."])


def _sizes_line(sizes: Sizes) -> str:
    named = (("smallest", sizes.smallest), ("median", sizes.median), ("largest", sizes.largest))
    listed = ", ".join(f"{name} {rows} x {columns}" for name, (rows, columns) in named)
    return f"Rows x columns: {listed}; {sizes.distinct} different sizes."


def _listing(title: str, problems: Sequence[Problem]) -> str:
    """Each kind with its number and its first cases."""
    if not problems:
        return ""
    lines = [title]
    for kind, heading in _TITLES.items():
        found = [problem for problem in problems if problem.kind is kind]
        if found:
            lines.append(f"  {heading}: {len(found)}{_differences(found)}")
            lines += [f"      {_case(problem)}" for problem in found[:_EXAMPLES]]
            if len(found) > _EXAMPLES:
                lines.append(f"      ... and {len(found) - _EXAMPLES} more")
    return "\n".join(lines)


def _differences(problems: Sequence[Problem]) -> str:
    """How many pictures lie across groups, splits, labels or parts."""
    counts = {
        name: sum(name in problem.across for problem in problems)
        for name in ("groups", "splits", "labels", "parts")
    }
    listed = [f"{count} across {name}" for name, count in counts.items() if count]
    return f" ({', '.join(listed)})" if listed else ""


def _case(problem: Problem) -> str:
    names = ", ".join(problem.images[:2])
    more = f" and {len(problem.images) - 2} more" if len(problem.images) > 2 else ""
    return f"{names}{more}: {problem.text}" if names else problem.text
