"""The shipped model against the torch network that it was exported from."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from outside import shared

from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.training.data import load_dataset, read_grey
from monai_bone_ssl.training.measure.evaluate_model import evaluate_model
from monai_bone_ssl.training.networks.backbone import load_backbone, round_to_storage
from monai_bone_ssl.training.networks.network import TokenPooling


@pytest.fixture(scope="module")
def fracatlas():
    return shared("data/fracatlas")


@pytest.fixture(scope="module")
def pooling():
    backbone = load_backbone(shared("weights/vit_small_patch14_dinov2.fp16.safetensors"))
    round_to_storage(backbone)
    return TokenPooling(backbone, blocks=4).eval()


@pytest.fixture(scope="module")
def probe():
    graph = onnx.load(default_model_folder() / "model.onnx").graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return tensors["probe.weight"][0], tensors["probe.bias"][0]


@pytest.fixture(scope="module")
def images(fracatlas, shipped):
    chosen = load_dataset(fracatlas).images[::1000]
    return [preprocess(read_grey(image.path), shipped.spec.preprocessing) for image in chosen]


@pytest.fixture(scope="module")
def predictions(shipped, images):
    return [shipped.predict(image[None, None]) for image in images]


def test_torch_and_onnxruntime_agree_on_logits_and_features(pooling, probe, images, predictions):
    weight, bias = probe
    for image, prediction in zip(images, predictions, strict=True):
        with torch.inference_mode():
            features = pooling(torch.from_numpy(image)[None, None]).features.numpy()[0]
        np.testing.assert_allclose(prediction.features[0, :-1], features, atol=1e-3)
        assert abs(prediction.logits[0] - (prediction.features[0] @ weight + bias)) < 1e-3


def test_contributions_sum_to_the_logit(predictions):
    for prediction in predictions:
        total = prediction.contribution.sum(dtype=np.float64) + prediction.offset[0]
        assert abs(total - prediction.logits[0]) < 1e-4


def test_left_and_right_get_the_same_answer(shipped, images, predictions):
    for image, straight in zip(images, predictions, strict=True):
        mirrored = shipped.predict(np.ascontiguousarray(image[None, None, :, ::-1]))
        assert abs(straight.logits[0] - mirrored.logits[0]) < 1e-3
        np.testing.assert_allclose(mirrored.patch_scores[0, :, ::-1], straight.patch_scores[0], atol=1e-3)


def test_evaluation_measures_the_pointing_game(fracatlas, shipped, tmp_path):
    """A few images with their outlines, as a FracAtlas-style folder of their own."""
    images = load_dataset(fracatlas).images
    fractured = [image for image in images if image.boxes]
    chosen = fractured[:5] + [image for image in images if not image.label][:5]
    names = {image.path.name for image in chosen}
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    for image in chosen:
        (data / "images" / image.path.name).symlink_to(image.path)
    header, *rows = (fracatlas / "labels.csv").read_text().splitlines()
    kept = [row for row in rows if row.split(",")[0] in names]
    (data / "labels.csv").write_text("\n".join([header, *kept]) + "\n")
    shutil.copyfile(fracatlas / "fracture_boxes.json", data / "fracture_boxes.json")

    evaluate_model(data, shipped, tmp_path / "out")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    outlined = [image for image in chosen if image.boxes]
    assert metrics["n"] == 10
    assert metrics["localisation"]["n"] == len(outlined) == 5
    assert 0 <= metrics["localisation"]["pointing_game"] <= 1
    for name in ("auroc", "accuracy", "balanced_accuracy", "kappa", "sensitivity", "specificity", "ece"):
        assert set(metrics[name]) >= {"value", "ci_low", "ci_high"}
