"""A model on labelled data: the answers that an evaluation measures, and the outcome in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.model.answer import Answer
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.training.data import LabelledDataset, load_dataset, read_exposed
from monai_bone_ssl.training.measure.evaluate import evaluate
from monai_bone_ssl.training.measure.metrics import Metrics

__all__ = ["evaluate_model", "operating_points", "write_evaluation"]


def evaluate_model(data: Path, model: Model, out: Path) -> str:
    """Answer every held-out image and write metrics.json, predictions.csv and plots.

    The model answers images too that a clinical run would refuse: the figures are about all images, not about
    those that the model accepts.

    Returns
    -------
    The main figures in words.

    Raises
    ------
    ConfigError
        If the data are not what was expected.
    CorruptImage, UnsupportedImage
        If an image cannot be read, or is blank.
    ModelError
        If no body part has operating points.
    ReportError
        If ``out`` cannot be written.
    """
    dataset = load_dataset(data).held_out()
    return write_evaluation(dataset, list(_answers(dataset, model)), model.spec, out)


def write_evaluation(dataset: LabelledDataset, answers: Sequence[Answer], spec: ModelSpec, out: Path) -> str:
    """Write metrics.json, predictions.csv and plots of a model's answers, one for each image.

    Returns
    -------
    The main figures in words.

    Raises
    ------
    ReportError
        If ``out`` cannot be written.
    """
    metrics = evaluate(dataset, answers, out)
    lines = [f"{len(dataset)} images, {int(dataset.labels.sum())} positive", *_main_figures(metrics)]
    if dataset.target != spec.target:
        lines.append(
            f"Caution: the labels are taken to mean {dataset.target.name}, the model answers for "
            f"{spec.target.name}. The figures hold only as far as both are the same."
        )
    if dataset.source.name in {source.name for source in spec.training_data}:
        lines.append(
            "Caution: the model was fitted on images of this set. These figures are not held out; "
            "the cross-validated ones are in model.json."
        )
    return "\n".join([*lines, f"Figures: {out / 'metrics.json'}"])


def _main_figures(metrics: Metrics) -> Iterator[str]:
    """Lines of the figures that a reader asks for first, as far as they are defined."""
    estimates = {
        "AUROC": metrics.auroc,
        "AUROC within cells of acquisition range and part": metrics.auroc_within_cells,
        "Sensitivity at 90 % specificity": metrics.sensitivity_at_specificity_90,
        "Share answered indeterminate": metrics.indeterminate,
    }
    if metrics.localisation is not None:
        named = metrics.localisation.estimates()
        estimates["Share of positive images whose evidence peaks in an outline"] = named["pointing_game"]
        if "sensitivity_at_0.5_false_regions" in named:
            at_half = named["sensitivity_at_0.5_false_regions"]
            estimates["Share of outlines hit at 0.5 false regions an image"] = at_half
    for name, figure in estimates.items():
        if figure.ci_low is not None:
            yield f"{name} {figure.value:.3f} (95 % interval {figure.ci_low:.3f} to {figure.ci_high:.3f})"
        elif figure.value is not None:
            yield f"{name} {figure.value:.3f} ({figure.reason})"


def _answers(dataset: LabelledDataset, model: Model) -> Iterator[Answer]:
    for image in tqdm(dataset.images, desc="predicting", unit="image"):
        pixels, field = read_exposed(image.path)
        prediction = model.predict(preprocess(pixels, model.spec.preprocessing, field)[None, None])
        points = operating_points(image.part, model.spec)
        logit, patch_scores = float(prediction.logits[0]), prediction.patch_scores[0]
        yield Answer.of(logit, patch_scores, pixels.shape, points, model.spec)


def operating_points(part: str, spec: ModelSpec) -> OperatingPoints:
    """Operating points of a body part; the strictest of all parts for a part without its own.

    Raises
    ------
    ModelError
        If no part has operating points.
    """
    points_of = {p.name: p.operating_points for p in spec.body_parts if p.operating_points is not None}
    if not points_of:
        text = f"{spec.name} {spec.version}: no body part has operating points, expected one at least"
        raise ModelError(ReasonCode.INVALID_MODEL, f"{text}; model.json says why under not_covered")
    return points_of.get(part) or OperatingPoints(
        min(points.high_sensitivity for points in points_of.values()),
        max(points.high_specificity for points in points_of.values()),
    )
