"""Fit the probe again to a site's verdicts, and offer the result only where it helps on other patients.

The features are frozen, so this takes no network training and no GPU. What changes: the probe, calibration,
operating points and the overlays' limit. What stays bit for bit: the network, the body-part probe and the
distance to the training images, and with them which images are analysed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.model.folder import read_cases, read_model_folder, write_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.spec import Figure
from monai_bone_ssl.review.adaptation.candidate_model import candidate_model, read_probe
from monai_bone_ssl.review.adaptation.gate import (
    FIGURE_NAMES,
    Gate,
    HeldOutFigure,
    ModelInUse,
    held_out_figures,
    judge,
)
from monai_bone_ssl.review.adaptation.model_versions import versions
from monai_bone_ssl.review.adaptation.site_cases import LabelledCase, extract_site_features
from monai_bone_ssl.review.adaptation.site_probe import FOLDS, MIN_PER_CLASS, SiteProbe
from monai_bone_ssl.wording import counted

__all__ = ["MIN_PATIENTS", "AdaptationReport", "adapt", "next_version", "report_json", "report_table"]

#: Least number of patients with either answer: fewer cannot be divided into folds inside folds.
MIN_PATIENTS = 2 * FOLDS


@dataclass(frozen=True)
class AdaptationReport:
    """Figures of an adaptation, and the decision whether the new model may be used."""

    version: str
    """Version of the new model."""
    parent_version: str
    """Version of the model in use."""
    n: int
    """Number of images with a verdict that the model analyses."""
    n_positive: int
    n_patients: int
    n_left_out: int
    """Number of images with a verdict that cannot be read or are not for the model."""
    strength: float
    """Strength of the change, see :data:`~monai_bone_ssl.review.adaptation.site_probe.CHANGE_STRENGTHS`."""
    figures: tuple[HeldOutFigure, ...]
    gate: Gate
    candidate: Path | None
    """Folder of the new model; None where the gate refuses the model."""


def adapt(
    model_folder: Path,
    cases: Sequence[LabelledCase],
    out: Path,
    progress: Callable[[str, int, int], None] | None = None,
) -> AdaptationReport:
    """Fit a probe to verdicts, judge it on held-out patients, and write a new model if it is better.

    Writing is not adopting: see :func:`monai_bone_ssl.review.adaptation.model_versions.adopt`.

    Parameters
    ----------
    model_folder
        The model in use, or a store.
    cases
        Images with labels, from :func:`~monai_bone_ssl.review.adaptation.site_cases.labelled_cases`.
    out
        Folder that gets the new model, as ``<version>/``, and ``adaptation_<version>.json`` with the figures.
    progress
        Called with the name of the step, the number of parts done and the number of all parts. An exception
        that it raises stops the work, and nothing is written.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where there are fewer than :data:`MIN_PER_CLASS` verdicts of either answer, or fewer
        than :data:`MIN_PATIENTS` patients with either.
    ModelError
        Where the model cannot be read, or its probe cannot be exchanged.
    ReportError
        ``WRITE_FAILED``.
    """
    labels = np.array([labelled.label for labelled in cases], dtype=np.int64)
    _require_enough(labels[labels == 1], labels[labels == 0], MIN_PER_CLASS, "verdicts")
    parent, model = read_model_folder(model_folder), Model(model_folder)
    site, kept = extract_site_features(cases, model, _step(progress, "features"))
    positives, negatives = (site.patients[site.labels == label] for label in (1, 0))
    _require_enough(positives, negatives, MIN_PER_CLASS, "verdicts on images that the model analyses")
    _require_enough(set(positives), set(negatives), MIN_PATIENTS, "patients with a verdict")
    old = ModelInUse(
        read_probe(parent.weights),
        parent.spec.calibration,
        {p.name: p.operating_points for p in parent.spec.body_parts if p.operating_points is not None},
    )
    figures = held_out_figures(site, old, _step(progress, "folds"))
    gate, fitted = judge(figures), SiteProbe.fit(site, old.probe)
    version = next_version(parent.spec.version, versions(model_folder))
    candidate = out / version if gate.passed else None
    if candidate is not None:
        weights, spec = candidate_model(parent, version, fitted, site, kept, figures)
        write_model_folder(candidate, weights, spec, read_cases(model_folder))
    report = AdaptationReport(
        version=version,
        parent_version=parent.spec.version,
        n=len(site),
        n_positive=int(site.labels.sum()),
        n_patients=len(np.unique(site.patients)),
        n_left_out=len(cases) - len(kept),
        strength=fitted.strength,
        figures=figures,
        gate=gate,
        candidate=candidate,
    )
    write_atomically(out / f"adaptation_{version}.json", report_json(report))
    return report


def next_version(version: str, taken: Collection[str]) -> str:
    """Count a version on: ``1.0.0+site.1`` after ``1.0.0``, then ``1.0.0+site.2``; none that is taken."""
    base = version.split("+")[0]
    numbers = (re.fullmatch(re.escape(base) + r"\+site\.(\d+)", name) for name in {version, *taken})
    return f"{base}+site.{1 + max((int(match[1]) for match in numbers if match), default=0)}"


def _step(progress: Callable[[str, int, int], None] | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)


def _require_enough(positives: Sized, negatives: Sized, n: int, things: str) -> None:
    if min(len(positives), len(negatives)) < n:
        text = f"{things}: {len(positives)} abnormal, {len(negatives)} normal; expected at least {n} of each"
        raise ConfigError(ReasonCode.INVALID_DATA, text)


# --- the report as JSON and in words ------------------------------------------------------------------------


def report_json(report: AdaptationReport) -> bytes:
    """Encode the report, without the candidate's path."""
    content = msgspec.to_builtins(report, enc_hook=str)
    del content["candidate"]
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def report_table(report: AdaptationReport) -> str:
    """Old and new figures side by side, and the gate's decision, in words."""
    lines = [
        f"{counted(report.n, 'image')} of {counted(report.n_patients, 'patient')}, "
        f"{report.n_positive} abnormal; "
        f"{report.n_left_out} with a verdict left out. On held-out patients, with 95 % intervals:",
        f"{'':38}{report.parent_version:>22}{report.version:>22}{'difference':>24}",
    ]
    lines += [_row(figure) for figure in report.figures]
    if report.gate.passed:
        return "\n".join([*lines, f"better: version {report.version} may be adopted"])
    reasons = [f"  {reason}" for reason in report.gate.reasons]
    return "\n".join([*lines, f"not better: version {report.parent_version} stays in use", *reasons])


def _row(figure: HeldOutFigure) -> str:
    old, new, difference = _interval(figure.old), _interval(figure.new), _interval(figure.difference, "+")
    return f"{FIGURE_NAMES[figure.name]:38}{old:>22}{new:>22}{difference:>24}"


def _interval(figure: Figure, sign: str = "") -> str:
    return f"{figure.value:{sign}.3f} ({figure.ci_low:.3f}, {figure.ci_high:.3f})"
