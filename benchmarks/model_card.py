"""Figures of MODEL_CARD.md: the shipped model's probe, cross-validated, with 95 % intervals.

    python benchmarks/model_card.py FRACATLAS WEIGHTS

Operating points and calibration were fixed on the same out-of-fold predictions, so what is printed for them
is slightly too kind. Figures at the operating points are those of the protocol's first seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from monai_bone_ssl.findings import decide
from monai_bone_ssl.model import Model, default_model_folder
from monai_bone_ssl.training.backbone import load_backbone, round_to_storage
from monai_bone_ssl.training.cross_validation import cross_validate
from monai_bone_ssl.training.data import LabelledDataset, load_dataset
from monai_bone_ssl.training.features import default_cache, extract_features
from monai_bone_ssl.training.figures import auroc_figures, share_figure
from monai_bone_ssl.training.metrics import BinaryMetrics, compute_metrics
from monai_bone_ssl.training.network import TokenPooling
from monai_bone_ssl.training.sample import Sample


def _row(name: str, n: int, value: float, low: float | None, high: float | None) -> None:
    print(f"| {name} | {n:,} | {value:.3f} | {low:.3f} to {high:.3f} |")


def _at(name: str, sample: Sample, threshold: float) -> None:
    """Sensitivity and specificity of one part at one threshold."""
    metrics: BinaryMetrics = compute_metrics(
        Sample(
            labels=sample.labels,
            probabilities=sample.probabilities,
            thresholds=np.full(len(sample), threshold),
            decisions=sample.decisions,
            groups=sample.groups,
            parts=sample.parts,
        )
    )
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


def main() -> None:
    """Print the rows of the model card's table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--cache", type=Path, default=default_cache())
    arguments = parser.parse_args()

    model = Model(default_model_folder())
    dataset = load_dataset(arguments.data)
    backbone = load_backbone(arguments.weights)
    round_to_storage(backbone)
    pooling = TokenPooling(backbone, blocks=4).eval()
    paths = [image.path for image in dataset.images]
    features = extract_features(pooling, model.spec.preprocessing, paths, arguments.cache)
    judged = cross_validate(features, dataset)
    probabilities = judged.probabilities[0]

    print(f"strength {judged.strength}, calibration {judged.calibration}")
    for name, figure in auroc_figures(dataset, judged.logits).items():
        _row(name, len(dataset), figure.value, figure.ci_low, figure.ci_high)
    for name in dataset.regions:
        _part(dataset, probabilities, model, name)
    everything = Sample(
        labels=dataset.labels,
        probabilities=probabilities,
        thresholds=np.full(len(dataset), 0.5),
        decisions=np.full(len(dataset), "negative"),
        groups=dataset.groups,
        parts=dataset.parts,
    )
    metrics = compute_metrics(everything)
    for what in ("accuracy", "balanced_accuracy", "kappa", "ece"):
        figure = getattr(metrics, what)
        _row(f"{what} at 0.5", len(dataset), figure.value, figure.ci_low, figure.ci_high)


if __name__ == "__main__":
    main()
