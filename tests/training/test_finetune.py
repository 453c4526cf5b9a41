"""Supervised fine-tuning: it learns, it is reproducible, and it never looks at what it is tested on."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.model.preprocessing import PreprocessSpec
from monai_bone_ssl.training import finetune
from monai_bone_ssl.training.compute.image_cache import open_image_cache
from monai_bone_ssl.training.data import load_dataset
from monai_bone_ssl.training.data.augmentation import augment
from monai_bone_ssl.training.finetune import finetune_and_predict
from monai_bone_ssl.training.networks.backbone import create_backbone, save_backbone

SPEC = PreprocessSpec(32, 16, 1.0, 99.0)
PATIENTS = 24


def _radiograph(rng, label):
    """A shaft on a dark ground, with a wide dark gap where it is positive."""
    pixels = rng.normal(40, 5, (40, 32))
    pixels[:, 10:22] += 120
    if label:
        row = int(rng.integers(10, 22))
        pixels[row : row + 8] = 30
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(4 * PATIENTS):
        _radiograph(rng, number % 2).save(folder / f"{number}.png")
        rows.append((f"{number}.png", number % 2, "wrist", f"patient{number // 4}"))
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "part", "patient"), *rows])
    return folder


@pytest.fixture(scope="module")
def dataset(folder):
    return load_dataset(folder / "list.csv")


@pytest.fixture(scope="module")
def halves():
    """Train and test, no patient in both."""
    return np.arange(0, 3 * PATIENTS), np.arange(3 * PATIENTS, 4 * PATIENTS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def fit(weights, halves, cache):
    def run(dataset, weights=weights, train=halves[0], test=halves[1], *, seed=0, epochs=6, **more):
        return finetune_and_predict(
            weights, dataset, train, test, spec=SPEC, epochs=epochs, seed=seed, image_cache=cache, **more
        )

    return run


@pytest.fixture(scope="module")
def predicted(fit, dataset):
    return fit(dataset)


def test_broken_shafts_are_told_from_whole_ones(predicted, dataset, halves):
    labels = dataset.labels[halves[1]]
    assert predicted.dtype == np.float64
    assert predicted.shape == labels.shape
    assert predicted[labels == 1].min() > predicted[labels == 0].max()
    assert ((predicted > 0.5) == labels).mean() > 0.95, "calibrated: one half parts the classes"


def test_the_same_seed_gives_the_same_bits_whatever_the_test_labels_and_the_global_state(
    predicted, fit, dataset, halves
):
    poisoned = set(halves[1].tolist())
    images = tuple(
        replace(image, label=1 - image.label) if index in poisoned else image
        for index, image in enumerate(dataset.images)
    )
    torch.manual_seed(99)
    np.testing.assert_array_equal(fit(replace(dataset, images=images)), predicted)
    one, other = (fit(dataset, seed=seed, epochs=1) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_pixels_of_other_test_images_change_nothing(predicted, fit, dataset, halves, tmp_path):
    """All test images but the first four are replaced by noise: the first four keep their predictions."""
    noise = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 32), dtype=np.uint8)).save(noise)
    poisoned = set(halves[1][4:].tolist())
    images = tuple(
        replace(image, path=noise) if index in poisoned else image
        for index, image in enumerate(dataset.images)
    )
    found = fit(replace(dataset, images=images))
    np.testing.assert_allclose(found[:4], predicted[:4], atol=1e-6)
    assert not np.allclose(found[4:], predicted[4:], atol=1e-3), "the poison was there"


def test_training_labels_matter(fit, dataset, halves):
    """The same with the training labels swapped ranks the other way: the oracle of the tests above."""
    images = tuple(replace(image, label=1 - image.label) for image in dataset.images)
    found = fit(replace(dataset, images=images))
    labels = dataset.labels[halves[1]]
    assert found[labels == 0].mean() > found[labels == 1].mean()


def test_a_vision_transformer_is_fine_tuned_too(fit, dataset, halves, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "test_vit.safetensors"
    save_backbone(create_backbone("test_vit"), path)
    found = fit(dataset, str(path), epochs=1)
    assert np.isfinite(found).all()
    assert found.shape == halves[1].shape


def test_the_epoch_that_ranks_best_is_kept(fit, dataset, monkeypatch):
    def predicted_where_epochs_rank(*aurocs):
        monkeypatch.setattr(finetune, "roc_auc_score", Mock(side_effect=aurocs))
        return fit(dataset, epochs=3)

    second = predicted_where_epochs_rank(0.6, 0.8, 0.7)
    np.testing.assert_array_equal(predicted_where_epochs_rank(0.6, 0.8, 0.8), second)  # the earlier of equals
    assert not np.array_equal(predicted_where_epochs_rank(0.6, 0.7, 0.8), second)


def test_learning_rate_rises_then_falls_as_a_cosine():
    rates = [finetune._rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10:] == pytest.approx([math.cos(math.pi * step / 180) ** 2 for step in range(90)])


def test_canvases_centre_the_image(dataset, cache):
    images = open_image_cache([image.path for image in dataset.images], SPEC, cache)
    canvases = finetune.Canvases(images, side=48)[np.array([8, 5])]
    assert canvases.shape == (2, 1, 48, 48)
    for canvas, index in zip(canvases[:, 0].numpy(), (8, 5), strict=True):
        expected = np.zeros((48, 48), dtype=np.float32)
        expected[8:40, 8:40] = images[index] / np.float32(255)  # 32 x 32
        np.testing.assert_allclose(canvas, expected, atol=1e-6)


def test_the_encoder_starts_at_the_class_balance(weights):
    network = finetune.Classifier(finetune._encoder(weights), prevalence=0.2).eval()
    with torch.inference_mode():
        logits = network(torch.rand(3, 1, 32, 32))
    torch.testing.assert_close(torch.sigmoid(logits), torch.full((3,), 0.2))


@torch.inference_mode()
def test_evaluation_averages_both_views(weights):
    network = finetune.Classifier(finetune._encoder(weights), prevalence=0.5).eval()
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(0))
    image = torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(1))
    one, mirrored = (network.head(network.encoder(view))[:, 0] for view in (image, image.flip(3)))
    torch.testing.assert_close(network(image), (one + mirrored) / 2)
    assert not torch.allclose(one, mirrored)


def test_wrong_settings_are_refused(fit, dataset):
    with pytest.raises(ConfigError, match="epochs is 0"):
        fit(dataset, epochs=0)
    with pytest.raises(ConfigError, match="expected at least 5"):
        fit(dataset, train=np.arange(8))
    with pytest.raises(ConfigError, match="diverged"):
        fit(dataset, learning_rate=1e30)


def test_an_unusable_image_is_named(fit, dataset, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    images = (replace(dataset.images[0], path=broken), *dataset.images[1:])
    with pytest.raises(ConfigError, match=r"broken\.png"):
        fit(replace(dataset, images=images))


# --- augmentation -----------------------------------------------------------------------------------------


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def test_augmentation_is_gentle_and_reproducible():
    """A bright square in the middle stays about there, about as large and bright."""
    images = torch.zeros(64, 1, 48, 48)
    images[:, :, 16:32, 16:32] = 0.8
    varied = augment(images, _generator(0))
    assert torch.equal(varied, augment(images, _generator(0)))
    assert not torch.equal(varied, augment(images, _generator(1)))
    assert varied[:, :, 0].max() == 0, "the ground stays black"
    assert varied.max() <= 1
    bright = (varied > 0.4).flatten(2).sum(dim=2) / 256
    assert bright.min() > 0.6, "zoomed out by 1.2 at most"
    assert bright.max() < 1.6
    assert bright.std() > 0.1, "and it does vary"
    rows = torch.arange(48.0)
    mass = (varied > 0.4).float()[:, 0]
    centre = (mass.sum(dim=2) * rows).sum(dim=1) / mass.sum(dim=(1, 2))
    assert (centre - 23.5).abs().max() < 4, "a shift of 2.4 pixels, zoomed"


def test_augmentation_mirrors_half_and_never_shears():
    """Right angles stay right: the area of the triangle of three points keeps its sign up to the mirror."""
    from monai_bone_ssl.training.data.augmentation import _matrices

    choices = 2 * torch.rand(5, 400, generator=_generator(0)) - 1
    linear = _matrices(*choices)[:, :, :2]
    determinant = torch.linalg.det(linear)
    assert 0.4 < (determinant < 0).float().mean() < 0.6
    product = linear @ linear.transpose(1, 2)  # scale squared times the identity
    scale = determinant.abs()[:, None, None] * torch.eye(2)
    torch.testing.assert_close(product, scale, atol=1e-5, rtol=0)
    assert determinant.abs().sqrt().min() >= 1 / 1.2 - 1e-5
    assert determinant.abs().sqrt().max() <= 1.2 + 1e-5
