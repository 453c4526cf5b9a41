"""What adapting a model to a site would change, as figures and in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from monai_bone_ssl.model.spec import Figure
from monai_bone_ssl.review.site_judgement import FIGURE_NAMES, Comparison, Gate

__all__ = ["AdaptationReport", "report_json", "report_table"]


@dataclass(frozen=True)
class AdaptationReport:
    """What adapting a model to a site would change."""

    version: str
    """Of the new model."""
    parent_version: str
    n: int
    """Images with a verdict that the model analyses."""
    n_positive: int
    n_patients: int
    n_left_out: int
    """Images with a verdict that cannot be read or are not for the model."""
    strength: float
    """Of the change, see :data:`~monai_bone_ssl.review.site_probe.STRENGTHS`; 0: the old answers, calibrated
    again."""
    figures: tuple[Comparison, ...]
    gate: Gate
    candidate: Path | None
    """The new model's folder; None where the gate refuses it."""


def report_json(report: AdaptationReport) -> bytes:
    """The report without the candidate's path."""
    content = msgspec.to_builtins(report, enc_hook=str)
    del content["candidate"]
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def report_table(report: AdaptationReport) -> str:
    """Old and new figures side by side, and the gate's answer, in words."""
    lines = [
        f"{report.n} images of {report.n_patients} patients, {report.n_positive} abnormal; "
        f"{report.n_left_out} with a verdict left out. On held-out patients, with 95 % intervals:",
        f"{'':38}{report.parent_version:>22}{report.version:>22}{'difference':>24}",
    ]
    lines += [_row(comparison) for comparison in report.figures]
    if report.gate.passed:
        return "\n".join([*lines, f"better: version {report.version} may be adopted"])
    reasons = [f"  {reason}" for reason in report.gate.reasons]
    return "\n".join([*lines, f"not better: version {report.parent_version} stays in use", *reasons])


def _row(comparison: Comparison) -> str:
    old, new = _interval(comparison.old), _interval(comparison.new)
    name, difference = FIGURE_NAMES[comparison.name], _interval(comparison.difference, "+")
    return f"{name:38}{old:>22}{new:>22}{difference:>24}"


def _interval(figure: Figure, sign: str = "") -> str:
    return f"{figure.value:{sign}.3f} ({figure.ci_low:.3f}, {figure.ci_high:.3f})"
