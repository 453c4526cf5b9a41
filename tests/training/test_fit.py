"""From labelled images to a model folder that the core can trust: a real fit of a small network."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from toy_radiographs import write_fractures

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.findings import ABNORMALITY, FRACTURE, Decision, OperatingPoints, PixelBox
from monai_bone_ssl.model.answer import Answer
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.model.similar_cases import SimilarCases
from monai_bone_ssl.training import fit as training_fit
from monai_bone_ssl.training.data import load_dataset, read_grey
from monai_bone_ssl.training.fit import fit
from monai_bone_ssl.training.measure.evaluate_model import evaluate_model, write_evaluation
from monai_bone_ssl.training.networks import patch_tokens
from monai_bone_ssl.training.networks.backbone import load_backbone, round_to_storage
from monai_bone_ssl.training.networks.extractors import PRODUCT_BLOCKS
from monai_bone_ssl.training.networks.network import TokenPooling

NAME = "test_vit"  # timm's smallest Vision Transformer: six blocks of 64 channels
PER_CLASS = 51  # of each body part; operating points need 50


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_fractures(tmp_path_factory.mktemp("data"), PER_CLASS, images_a_patient=3)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / f"{NAME}.safetensors"
    save_file(timm.create_model(NAME, num_classes=0).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folder(data, backbone, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("model")
    fit(data, backbone, out, name="tiny", version="1", long_side=64, cache=cache)
    return out


@pytest.fixture(scope="module")
def fitted(folder):
    return Model(folder)


def _predict(model, image):
    return model.predict(preprocess(read_grey(image.path), model.spec.preprocessing)[None, None])


def test_model_tells_what_it_was_fitted_on(fitted):
    spec = fitted.spec
    assert [part.name for part in spec.body_parts] == ["elbow", "wrist"]
    assert (spec.training_data[0].n, spec.training_data[0].n_positive) == (4 * PER_CLASS, 2 * PER_CLASS)
    assert spec.training_data[0].n_groups == PER_CLASS // 3
    assert spec.figures["auroc"].value > 0.9, "a broken shaft is easy to see"
    assert spec.figures["auroc"].ci_low <= spec.figures["auroc"].value <= spec.figures["auroc"].ci_high
    assert spec.figures["body_part_accuracy"].value > 0.95


def test_probability_separates_the_classes_and_contributions_add_up(fitted, data):
    images = load_dataset(data).images[:40]
    predictions = [_predict(fitted, image) for image in images]
    probabilities = np.array([fitted.spec.calibration.probability(float(p.logits[0])) for p in predictions])
    labels = np.array([image.label for image in images])
    assert probabilities[labels == 1].min() > probabilities[labels == 0].max()
    for prediction in predictions:
        total = prediction.contribution.sum(dtype=np.float64) + prediction.offset[0]
        assert abs(total - prediction.logits[0]) < 1e-4


def test_stored_weights_change_nothing(fitted, backbone):
    """The int8 file against the torch network it came from, which was rounded before the fit."""
    vit = load_backbone(backbone)
    round_to_storage(vit)
    pooling = TokenPooling(vit, blocks=4).eval()
    image = torch.rand(1, 1, 64, 48, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = pooling(image).features.numpy()
    np.testing.assert_allclose(fitted.predict(image.numpy()).features[:, :-1], expected, atol=1e-4)


class _Captured(Exception):
    """Ends a fit where cross-validation would begin; holds the features."""


@pytest.mark.usefixtures("folder")
def test_a_second_fit_takes_the_features_of_the_first(data, backbone, cache, tmp_path, monkeypatch):
    def capture(known, _dataset):
        raise _Captured(known)

    def refuse(*_):
        raise AssertionError("features were taken again")

    monkeypatch.setattr(training_fit, "cross_validate", capture)
    monkeypatch.setattr(patch_tokens, "_run", refuse)
    with pytest.raises(_Captured) as first:
        fit(data, backbone, tmp_path, name="tiny", version="1", long_side=64, cache=cache)
    assert first.value.args[0].shape == (4 * PER_CLASS, 2 * PRODUCT_BLOCKS * 64)
    with pytest.raises(AssertionError, match="taken again"):
        fit(data, backbone, tmp_path, name="tiny", version="1", long_side=48, cache=cache)


def test_size_must_be_whole_patches(data, backbone, cache, tmp_path):
    with pytest.raises(ConfigError, match="multiple of 16"):
        fit(data, backbone, tmp_path, name="tiny", version="1", long_side=70, cache=cache)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_pictures")
def test_evaluation_says_that_it_saw_the_images(fitted, data, tmp_path):
    summary = evaluate_model(data, fitted, tmp_path)
    metrics = msgspec.json.decode((tmp_path / "metrics.json").read_bytes())
    assert metrics["n"] == 4 * PER_CLASS
    assert metrics["auroc"]["value"] > 0.99
    assert set(metrics["per_part"]) == {"elbow", "wrist"}
    assert "not held out" in summary


@pytest.mark.usefixtures("no_pictures")
def test_evaluation_cautions_where_the_labels_mean_something_else(fitted, data, tmp_path):
    dataset = load_dataset(data)
    points, box = OperatingPoints(0.4, 0.6), PixelBox(0, 0, 1, 1)
    evidence = np.zeros((4, 4), dtype=np.float32)
    answers = [Answer(0.0, 0.5, Decision.INDETERMINATE, points, evidence, box, ())] * len(dataset)
    same, other = (
        write_evaluation(dataset, answers, msgspec.structs.replace(fitted.spec, target=target), tmp_path)
        for target in (ABNORMALITY, FRACTURE)
    )
    assert "taken to mean abnormality, the model answers for fracture" in other
    assert "taken to mean" not in same


def test_similar_cases_are_the_training_images_by_number(fitted, folder, data):
    """A list of one's own may name patients in its paths: only public names are shown."""
    dataset = load_dataset(data)
    cases = SimilarCases.load(folder)
    for number in (0, 100):
        nearest = cases.nearest(_predict(fitted, dataset.images[number]).features[0], n=1)[0]
        assert nearest.distance < 0.01
        assert (nearest.part, nearest.label) == (dataset.images[number].part, dataset.images[number].label)
        assert nearest.identifier == str(number + 1)
