"""Re-fit the probe to a site's own verdicts, and offer it only where that helps on verdicts it has not seen.

The features are frozen, so this takes no network training and no GPU. What changes: the probe, calibration,
operating points and the overlays' limit. What stays bit for bit: the network, the body-part probe and the
distance to the training images, and with them which images are analysed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.model.folder import read_cases, read_model_folder, write_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.review.adaptation_report import AdaptationReport, report_json
from monai_bone_ssl.review.adapted_model import adapted_model
from monai_bone_ssl.review.model_versions import versions
from monai_bone_ssl.review.probe_exchange import read_probe
from monai_bone_ssl.review.site_features import LabelledCase, extract
from monai_bone_ssl.review.site_judgement import OldModel, compare, judge
from monai_bone_ssl.review.site_probe import FOLDS, MIN_PER_CLASS, SiteCases, SiteProbe

__all__ = ["MIN_PATIENTS", "adapt", "next_version"]

#: Fewer patients with either answer cannot be split into folds inside folds.
MIN_PATIENTS = 2 * FOLDS


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
        What :func:`~monai_bone_ssl.review.site_features.labelled_cases` returned.
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
    candidate = out / version if gate.passed else None
    if candidate is not None:
        weights, spec = adapted_model(parent, version, fitted, site, kept, figures)
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
