"""Cost of rounding the weights: AUROC of the shipped file against that of the float32 network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from tqdm import tqdm

from benchmarks.speed.ratio import Row, row
from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.training.data import load_dataset, read_grey
from monai_bone_ssl.training.networks.backbone import load_backbone
from monai_bone_ssl.training.networks.network import TokenPooling
from monai_bone_ssl.training.networks.torch_model import load_network

__all__ = ["accuracy_row"]


def accuracy_row(data: Path, weights: Path, images: int) -> Row:
    """Row 6, on so many images that lie evenly in the data set."""
    model = Model(default_model_folder())
    network = load_network(default_model_folder())
    reference = TokenPooling(load_backbone(weights).requires_grad_(False), network.pooling.blocks).eval()
    dataset = load_dataset(data)
    chosen = np.linspace(0, len(dataset) - 1, min(images, len(dataset))).round().astype(int)
    logits: list[tuple[float, float]] = []
    for index in tqdm(chosen, desc="accuracy", unit="image"):
        batch = preprocess(read_grey(dataset.images[index].path), model.spec.preprocessing)[None, None]
        ours = float(model.predict(batch).logits[0])
        logits.append((ours, _reference_logit(reference, network.probe, torch.from_numpy(batch))))
    labels = dataset.labels[chosen]
    ours, other = (float(roc_auc_score(labels, column)) for column in zip(*logits, strict=True))
    points = [part.operating_points for part in model.spec.body_parts if part.operating_points is not None]
    calibration = model.spec.calibration
    probabilities = np.array([[calibration.probability(value) for value in pair] for pair in logits])
    changed = [
        np.mean(np.diff((probabilities[:, :, None] >= [p.high_sensitivity, p.high_specificity]).sum(2)) != 0)
        for p in points
    ]
    return row(
        "accuracy kept",
        ("AUROC, shipped file", [ours]),
        ("AUROC, float32 weights", [other]),
        unit="",
        aim="at least 0.998",
        limit=1 - 0.002 / other,
        note=f"{len(chosen)} images that the model was fitted on: a comparison, not an estimate",
        details={
            "largest difference of a logit": float(np.abs(np.diff(logits)).max()),
            "share of changed decisions, largest of the parts": float(max(changed)),
        },
    )


@torch.inference_mode()
def _reference_logit(pooling: TokenPooling, probe: nn.Module, batch: torch.Tensor) -> float:
    return float(probe(pooling(batch).features)[0, 0])
