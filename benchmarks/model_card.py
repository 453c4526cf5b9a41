"""Figures of MODEL_CARD.md: the shipped model's probe, cross-validated, with 95 % intervals.

    python -m benchmarks.model_card FRACATLAS WEIGHTS

Operating points and calibration were fixed on the same predictions, from probes that did not see the image's
acquisition range, so that their figures are slightly too good.
"""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np

from benchmarks.shipped import parse
from monai_bone_ssl.findings import decide
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.measure.metrics import compute_metrics
from monai_bone_ssl.training.measure.sample import Sample
from monai_bone_ssl.training.probes.cross_validation import (
    OutOfFold,
    auroc_figures,
    cross_validate,
    share_figure,
)


def _row(name: str, n: int, value: float, low: float | None, high: float | None) -> None:
    print(f"| {name} | {n:,} | {value:.3f} | {low:.3f} to {high:.3f} |")


def _at(name: str, sample: Sample, threshold: float) -> None:
    """Sensitivity and specificity of one part at one threshold."""
    metrics = compute_metrics([replace(sample, thresholds=np.full(len(sample), threshold))])
    for what in ("sensitivity", "specificity"):
        figure = getattr(metrics, what)
        _row(f"{what} at {name}, {threshold:.3f}", len(sample), figure.value, figure.ci_low, figure.ci_high)


def _part(dataset: LabelledDataset, probabilities: np.ndarray, model: Model, name: str) -> None:
    spec = next(part for part in model.spec.body_parts if part.name == name)
    points = spec.operating_points
    if points is None:
        return
    here = dataset.parts == name
    sample = Sample(
        labels=dataset.labels[here],
        probabilities=probabilities[here],
        thresholds=np.full(here.sum(), 0.5),
        decisions=np.array([decide(p, points) for p in probabilities[here]]),
        groups=dataset.groups[here],
        parts=dataset.parts[here],
    )
    _at(f"the lower point, {name}", sample, points.high_sensitivity)
    _at(f"the upper point, {name}", sample, points.high_specificity)
    share = share_figure(sample.decisions == "indeterminate", sample.groups)
    _row(f"answered indeterminate, {name}", len(sample), share.value, share.ci_low, share.ci_high)


def _views(dataset: LabelledDataset, logits: OutOfFold) -> None:
    """AUROC of each view that FracAtlas flags; an image with several views has several flags."""
    with (dataset.images[0].path.parent.parent / "labels.csv").open(newline="") as stream:
        flags = {row["image_id"]: row for row in csv.DictReader(stream)}
    for view in ("frontal", "lateral", "oblique"):
        shown = [flags[image.path.name][view] == "1" for image in dataset.images]
        indices = np.flatnonzero(shown)
        figure = auroc_figures(dataset.take(indices), logits.take(indices))["auroc"]
        _row(f"auroc, {view} views", len(indices), figure.value, figure.ci_low, figure.ci_high)


def main() -> None:
    """Print the rows of the model card's table."""
    shipped = parse(__doc__)
    model, dataset = shipped.model, shipped.dataset
    judged = cross_validate(shipped.features, dataset)
    probabilities = judged.probabilities[0]

    print(f"strength {judged.strength}, calibration {judged.calibration}")
    for name, figure in auroc_figures(dataset, judged.logits).items():
        _row(name, len(dataset), figure.value, figure.ci_low, figure.ci_high)
    _views(dataset, judged.logits)
    for name in dataset.known_parts:
        _part(dataset, probabilities, model, name)
    everything = Sample(
        labels=dataset.labels,
        probabilities=probabilities,
        thresholds=np.full(len(dataset), 0.5),
        decisions=np.full(len(dataset), "negative"),
        groups=dataset.groups,
        parts=dataset.parts,
    )
    metrics = compute_metrics([everything])
    for what in ("accuracy", "balanced_accuracy", "kappa", "ece"):
        figure = getattr(metrics, what)
        _row(f"{what} at 0.5", len(dataset), figure.value, figure.ci_low, figure.ci_high)


if __name__ == "__main__":
    main()
