"""Re-fit the probe to a site's own verdicts, and offer it only where that helps on verdicts it has not seen.

The features are frozen, so this takes no network training and no GPU. What changes: the probe, calibration,
operating points and the overlays' limit. What stays bit for bit: the network, the body-part probe and the
distance to the training images, and with them which images are analysed.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version as library_version
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from monai_bone_ssl.colours import evidence_limit
from monai_bone_ssl.errors import ConfigError, ModelError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.model import Model, read_cases, read_model_folder, write_model_folder
from monai_bone_ssl.model_spec import BodyPartSpec, Figure, ModelSpec, TrainingData
from monai_bone_ssl.review.model_versions import versions
from monai_bone_ssl.review.probe_exchange import exchange_probe, read_probe
from monai_bone_ssl.review.site_features import LabelledCase, extract, labelled_cases, prepared
from monai_bone_ssl.review.site_judgement import FIGURE_NAMES, Comparison, Gate, OldModel, compare, judge
from monai_bone_ssl.review.site_probe import FOLDS, MIN_PER_CLASS, LinearProbe, SiteCases, SiteProbe

__all__ = [
    "MIN_PATIENTS",
    "AdaptationReport",
    "adapt",
    "labelled_cases",
    "next_version",
    "report_json",
    "report_table",
]

#: Fewer patients with either answer cannot be split into folds inside folds.
MIN_PATIENTS = 2 * FOLDS

# Images that the overlays' limit is taken from, and that the new model is checked on.
_SHOWN = 32
_ROUNDING = 1e-3


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


def adapt(
    model_folder: Path,
    cases: Sequence[LabelledCase],
    out: Path,
    progress: Callable[[str, int, int], None] | None = None,
) -> AdaptationReport:
    """Fit a probe to verdicts, judge it on held-out patients, and write it if it is better.

    Writing is not adopting: see :func:`monai_bone_ssl.review.model_versions.adopt`.

    Parameters
    ----------
    model_folder
        The model in use, or a store.
    cases
        What :func:`labelled_cases` returned.
    out
        Folder that gets the candidate, as ``<version>/``, and ``adaptation_<version>.json`` with the figures.
    progress
        Called with what is being done, how much of it is done and how much there is; what it raises stops the
        work, and nothing is written.

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
    _check_numbers([labelled.label for labelled in cases])
    parent, model = read_model_folder(model_folder), Model(model_folder)
    site, kept = extract(cases, model, _named(progress, "features"))
    _check_numbers(site.labels.tolist())
    _check_patients(site)
    old = OldModel(
        read_probe(parent.weights),
        parent.spec.calibration,
        {p.name: p.operating_points for p in parent.spec.body_parts if p.operating_points is not None},
    )
    figures = compare(site, old, _named(progress, "folds"))
    gate, fitted = judge(figures), SiteProbe.fit(site, old.probe)
    version = next_version(parent.spec.version, versions(model_folder))
    candidate = None
    if gate.passed:
        candidate = out / version
        spec = _spec(parent.spec, fitted, version, site, figures)
        weights = exchange_probe(parent.weights, fitted.probe)
        limit = _evidence_limit(weights, spec, fitted.probe, kept)
        spec = msgspec.structs.replace(spec, evidence_limit=limit)
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
    lines += [
        f"{FIGURE_NAMES[c.name]:38}{_interval(c.old):>22}{_interval(c.new):>22}{_interval(c.difference, '+'):>24}"
        for c in report.figures
    ]
    if report.gate.passed:
        return "\n".join([*lines, f"better: version {report.version} may be adopted"])
    reasons = [f"  {reason}" for reason in report.gate.reasons]
    return "\n".join([*lines, f"not better: version {report.parent_version} stays in use", *reasons])


def _interval(figure: Figure, sign: str = "") -> str:
    return f"{figure.value:{sign}.3f} ({figure.ci_low:.3f}, {figure.ci_high:.3f})"


def next_version(version: str, taken: Collection[str]) -> str:
    """``1.0.0+site.1`` after ``1.0.0``, ``1.0.0+site.2`` after that; one that is taken is not used again."""
    base = version.split("+")[0]
    numbers = (re.fullmatch(re.escape(base) + r"\+site\.(\d+)", name) for name in {version, *taken})
    return f"{base}+site.{1 + max((int(match[1]) for match in numbers if match), default=0)}"


def _named(progress: Callable[[str, int, int], None] | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)


def _check_numbers(labels: Sequence[int]) -> None:
    positives = sum(labels)
    negatives = len(labels) - positives
    if min(positives, negatives) < MIN_PER_CLASS:
        text = f"{positives} abnormal and {negatives} normal verdicts"
        raise ConfigError(ReasonCode.INVALID_DATA, f"{text}, expected at least {MIN_PER_CLASS} of each")


def _check_patients(site: SiteCases) -> None:
    positives, negatives = (len(np.unique(site.patients[site.labels == label])) for label in (1, 0))
    if min(positives, negatives) < MIN_PATIENTS:
        text = f"verdicts on {positives} patients with and {negatives} without the condition"
        raise ConfigError(ReasonCode.INVALID_DATA, f"{text}, expected at least {MIN_PATIENTS} of each")


# --- the new model ------------------------------------------------------------------------------------


def _evidence_limit(
    weights: bytes, spec: ModelSpec, probe: LinearProbe, cases: Sequence[LabelledCase]
) -> float:
    """The overlays' limit from some positive images, once it is sure that the network computes the probe."""
    positives = [labelled.case for labelled in cases if labelled.label == 1]
    with tempfile.TemporaryDirectory() as scratch:
        write_model_folder(Path(scratch), weights, spec)
        model = Model(Path(scratch))
    batches = (prepared(case, spec) for case in positives[:: max(1, len(positives) // _SHOWN)])
    peaks = [_peak(model, probe, batch) for batch in batches if batch is not None]
    if not peaks or evidence_limit(peaks) <= 0:
        text = "no patch speaks for the condition in images that have it: expected evidence to show"
        raise ModelError(ReasonCode.INVALID_MODEL, text)
    return evidence_limit(peaks)


def _peak(model: Model, probe: LinearProbe, batch: npt.NDArray[np.float32]) -> float:
    """Largest patch evidence of one image."""
    seen = model.predict(batch)
    expected, found = float(probe.logits(seen.features)[0]), float(seen.logits[0])
    explained = float(seen.evidence[0].sum(dtype=np.float64) + seen.offset[0])
    if max(abs(found - expected), abs(explained - expected)) > _ROUNDING * (1 + abs(expected)):
        text = f"the new probe gives {expected:.4f}, the network {found:.4f}, its evidence {explained:.4f}"
        raise ModelError(ReasonCode.INVALID_MODEL, f"{text}: expected one number")
    return float(seen.evidence[0].max())


def _spec(
    parent: ModelSpec, fitted: SiteProbe, version: str, site: SiteCases, figures: Sequence[Comparison]
) -> ModelSpec:
    return msgspec.structs.replace(
        parent,
        version=version,
        body_parts=tuple(_body_part(part, fitted, site) for part in parent.body_parts),
        calibration=fitted.calibration,
        training_data=(*parent.training_data, _training_data(site)),
        figures=_figures(parent, figures),
        parent_weights_sha256=parent.weights_sha256,
        libraries=parent.libraries | {name: library_version(name) for name in ("onnx", "numpy")},
    )


def _body_part(part: BodyPartSpec, fitted: SiteProbe, site: SiteCases) -> BodyPartSpec:
    """Covered where the site's readers have seen it: nobody knows how the new probe does on another part."""
    if part.operating_points is None:
        return part
    points: OperatingPoints | None = fitted.points_of(part.name) if part.name in site.parts else None
    why = None if points is not None else "adapted at a site that has no verdicts on it"
    return msgspec.structs.replace(part, operating_points=points, not_covered=why)


def _training_data(site: SiteCases) -> TrainingData:
    return TrainingData(
        name="verdicts of a site's readers",
        source="read at the site that this model was adapted at",
        licence="not shared",
        n=len(site),
        n_positive=int(site.labels.sum()),
        n_groups=len(np.unique(site.patients)),
    )


def _figures(parent: ModelSpec, figures: Sequence[Comparison]) -> dict[str, Figure]:
    """The site's, marked as such; of the parent's only what the change of probe leaves true."""
    kept = {name: figure for name, figure in parent.figures.items() if name == "body_part_accuracy"}
    return kept | {f"site_{comparison.name}": comparison.new for comparison in figures}
