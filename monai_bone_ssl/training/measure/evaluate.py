"""From predictions on labelled images to metrics.json, predictions.csv and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import csv_bytes, write_atomically
from monai_bone_ssl.model.answer import Answer
from monai_bone_ssl.training.data import LabelledDataset, LabelledImage
from monai_bone_ssl.training.measure import plots
from monai_bone_ssl.training.measure.localisation import localise
from monai_bone_ssl.training.measure.metrics import Metrics, compute_metrics
from monai_bone_ssl.training.measure.sample import Sample

__all__ = ["evaluate", "hardware_of", "studies_of"]


def evaluate(
    dataset: LabelledDataset,
    answers: Sequence[Answer],
    out: Path,
    threshold: float | Mapping[str, float] = 0.5,
) -> Metrics:
    """Measure answers and write the outcome.

    The files are ``predictions.csv``, ``roc.png``, ``reliability.png``, ``probabilities.png``, ``parts.png``
    and, last, ``metrics.json``; each appears whole or not at all.

    Parameters
    ----------
    dataset
        Labelled images, for instance ``load_dataset(path).held_out()``.
    answers
        Answer of each image, in the order of the data set.
    out
        Folder for the files; created if it does not exist.
    threshold
        Probability from which the two-state figures (accuracy, kappa, ...) count an image as positive: one
        for all images, or one for each part. The three decisions have figures of their own.

    Returns
    -------
    Content of metrics.json.

    Raises
    ------
    ConfigError
        Where answers and images do not match, or a part has no threshold.
    ReportError
        Where a file cannot be written.
    """
    sample = _sample(dataset, answers, threshold)
    metrics = compute_metrics(
        [sample],
        hardware=hardware_of(dataset.images),
        studies=studies_of(dataset.images),
        localisation=localise(
            dataset.images,
            [answer.peak_box.centre for answer in answers],
            [answer.regions for answer in answers],
        ),
    )
    points = {image.part: p.points for image, p in zip(dataset.images, answers, strict=True)}
    write_atomically(out / "predictions.csv", _table(dataset.images, answers))
    write_atomically(out / "roc.png", plots.to_png(plots.roc_figure(sample, metrics)))
    write_atomically(out / "reliability.png", plots.to_png(plots.reliability_figure(sample, metrics)))
    write_atomically(out / "probabilities.png", plots.to_png(plots.probability_figure(sample, points)))
    write_atomically(out / "parts.png", plots.to_png(plots.parts_figure(metrics)))
    write_atomically(out / "metrics.json", _json(dataset, metrics))
    return metrics


def _sample(
    dataset: LabelledDataset,
    answers: Sequence[Answer],
    threshold: float | Mapping[str, float],
) -> Sample:
    if len(answers) != len(dataset):
        raise _invalid(f"{len(answers)} answers for {len(dataset)} images, expected one for each")
    return Sample(
        labels=dataset.labels,
        probabilities=np.array([p.probability for p in answers], dtype=np.float64),
        thresholds=_thresholds(dataset, threshold),
        decisions=np.array([p.decision for p in answers], dtype=np.str_),
        groups=dataset.groups,
        parts=dataset.parts,
        cells=dataset.cells,
    )


def _thresholds(dataset: LabelledDataset, threshold: float | Mapping[str, float]) -> NDArray[np.float64]:
    if not isinstance(threshold, Mapping):
        return np.full(len(dataset), threshold, dtype=np.float64)
    missing = set(dataset.parts.tolist()) - threshold.keys()
    if missing:
        raise _invalid(f"no threshold for part {min(missing)}, expected one for each part")
    return np.array([threshold[image.part] for image in dataset.images], dtype=np.float64)


def hardware_of(images: Sequence[LabelledImage]) -> NDArray[np.bool_] | None:
    """Whether hardware is visible in each image [n]; None where nobody noted it for some image."""
    if any(image.hardware is None for image in images):
        return None
    return np.array([image.hardware for image in images], dtype=np.bool_)


def studies_of(images: Sequence[LabelledImage]) -> NDArray[np.str_] | None:
    """Study of each image [n]; None where the study of some image is unknown."""
    if any(image.study is None for image in images):
        return None
    return np.array([image.study for image in images], dtype=np.str_)


def _table(images: Sequence[LabelledImage], answers: Sequence[Answer]) -> bytes:
    header = ("path", "label", "part", "probability", "decision")
    pairs = zip(images, answers, strict=True)
    return csv_bytes(header, ((i.name, i.label, i.part, a.probability, a.decision) for i, a in pairs))


def _json(dataset: LabelledDataset, metrics: Metrics) -> bytes:
    source = {
        "name": dataset.source.name,
        "licence": dataset.source.licence,
        "reference": dataset.source.reference,
    }
    content = {"data": source, "target": dataset.target.name} | msgspec.to_builtins(metrics)
    return msgspec.json.format(msgspec.json.encode(content)) + b"\n"


def _invalid(text: str) -> ConfigError:
    return ConfigError(ReasonCode.INVALID_DATA, text)
