"""What a data check found: as a text for people, as JSON and CSV for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from monai_bone_ssl.files import csv_bytes
from monai_bone_ssl.training.data.check import DataCheck, Problem, ProblemKind, Sizes
from monai_bone_ssl.wording import counted

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
    """Everything that the check found as strict JSON, indented, in UTF-8."""
    return msgspec.json.format(msgspec.json.encode(check), indent=2) + b"\n"


def problems_csv(problems: Sequence[Problem]) -> bytes:
    """Problems as a table to sort and filter, in UTF-8.

    Every image of a problem has a line, as has a problem without images. The columns are the number of the
    problem, its kind, whether it is only a note (0 or 1), in what its images differ, the image and the text.
    """
    header = ("problem", "kind", "note", "across", "image", "text")
    lines = (
        (number, problem.kind, int(problem.note), " ".join(problem.across), image, problem.text)
        for number, problem in enumerate(problems, start=1)
        for image in problem.images or ("",)
    )
    return csv_bytes(header, lines)


def check_text(check: DataCheck) -> str:
    """The check in words, for a terminal."""
    scope = f"{counted(check.images, 'image')} of {counted(check.groups, 'group')}"
    parts = [f"{check.source}: {scope}", _counts_table(check)]
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
    listed = ", ".join(
        f"{name} {rows} x {columns}"
        for name, (rows, columns) in (
            ("smallest", sizes.smallest),
            ("median", sizes.median),
            ("largest", sizes.largest),
        )
    )
    return f"Rows x columns: {listed}; {counted(sizes.distinct, 'different size')}."


def _listing(title: str, problems: Sequence[Problem]) -> str:
    """Each kind of problem with the number of problems and the first of them."""
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
    """How many pictures occur in several groups, splits, labels or parts, in words."""
    counts = Counter(name for problem in problems for name in problem.across)
    listed = [f"{counts[n]} across {n}" for n in ("groups", "splits", "labels", "parts") if counts[n]]
    return f" ({', '.join(listed)})" if listed else ""


def _case(problem: Problem) -> str:
    names = ", ".join(problem.images[:2])
    more = f" and {len(problem.images) - 2} more" if len(problem.images) > 2 else ""
    return f"{names}{more}: {problem.text}" if names else problem.text
