"""The network against timm's own forward pass, and its evidence against a naive computation."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.networks.backbone import (
    bicubic_matrix,
    fold_normalisation,
    load_backbone,
    round_to_storage,
    save_backbone,
)
from monai_bone_ssl.training.networks.network import ProbedViT, TokenPooling

NAME = "test_vit"


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    model = timm.create_model(NAME, num_classes=0).eval()
    torch.nn.init.normal_(model.pos_embed, std=0.3)
    return model


@pytest.fixture
def weights(original, tmp_path):
    path = tmp_path / f"{NAME}.fp16.safetensors"
    save_file({key: value.half().contiguous() for key, value in original.state_dict().items()}, path)
    return path


@pytest.fixture
def pooling(weights):
    return TokenPooling(load_backbone(weights), blocks=3).eval()


@pytest.fixture
def image():
    return torch.rand(2, 1, 160, 160, generator=torch.Generator().manual_seed(1))


def test_grey_input_equals_normalised_rgb(original, image):
    config = original.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = original.patch_embed.proj((image.expand(-1, 3, -1, -1) - mean) / std)
        rgb = original.patch_embed.proj
        grey = fold_normalisation(rgb.weight, rgb.bias, config["mean"], config["std"])
        patches = torch.nn.functional.conv2d(image, *grey, stride=16)
    torch.testing.assert_close(patches, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(37, 37), (32, 26), (1, 50), (74, 2)])
def test_positions_are_resampled_as_torch_interpolates(size):
    square = torch.randn(1, 5, 37, 37, generator=torch.Generator().manual_seed(2))
    by_row, by_column = (bicubic_matrix(target, 37, square) for target in size)
    expected = torch.nn.functional.interpolate(square, size=size, mode="bicubic", align_corners=False)
    torch.testing.assert_close(by_row @ square @ by_column.T, expected, atol=2e-5, rtol=0)


def test_a_written_backbone_reads_back_the_same(weights, tmp_path, image):
    backbone = load_backbone(weights).half().float()
    path = tmp_path / f"{NAME}.adapted.safetensors"
    save_backbone(backbone, path)
    with torch.inference_mode():
        torch.testing.assert_close(load_backbone(path)(image), backbone(image), atol=1e-5, rtol=1e-5)


def test_tokens_equal_timm_intermediates(pooling, image):
    with torch.inference_mode():
        tokens = pooling(image).tokens
        blocks = pooling.backbone.vit.forward_intermediates(
            image, indices=3, norm=True, output_fmt="NCHW", intermediates_only=True
        )
    torch.testing.assert_close(tokens[:2], torch.cat(blocks, dim=1), atol=1e-5, rtol=1e-5)


def test_features_are_mean_and_maximum(pooling, image):
    with torch.inference_mode():
        features, tokens = pooling(image)
    flat = tokens.numpy().reshape(2, 2, pooling.width // 2, -1)  # [view, B, L * C, h * w]
    expected = np.concatenate((flat.mean(3), flat.max(3)), axis=2).mean(axis=0)
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-6)
    channels = tokens.shape[1] // 3
    last = flat.mean(3).mean(0)[:, -channels:]
    np.testing.assert_allclose(pooling.last_mean(features).numpy(), last, atol=1e-6)


def test_left_and_right_get_the_same_answer_and_mirrored_evidence(pooling, image):
    network = ProbedViT(pooling, body_parts=2, components=4).eval()
    with torch.inference_mode():
        logits, _, evidence, *_ = network(image)
        mirrored_logits, _, mirrored_evidence, *_ = network(image.flip(3))
    torch.testing.assert_close(mirrored_logits, logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored_evidence.flip(2), evidence, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(160, 160), (64, 160), (96, 32)])
def test_evidence_sums_to_the_logit_on_any_grid(pooling, size):
    network = ProbedViT(pooling, body_parts=2, components=4).eval()
    with torch.inference_mode():
        logits, _, evidence, offset, *_ = network(torch.rand(2, 1, *size))
    assert evidence.shape == (2, size[0] // 16, size[1] // 16)
    torch.testing.assert_close(evidence.sum(dim=(1, 2)) + offset, logits, atol=1e-5, rtol=0)


def test_evidence_of_a_maximum_stands_at_its_patch(pooling):
    tokens = torch.zeros(2, pooling.width // 2, 2, 3)  # an image, and its mirror image without evidence
    tokens[0, 5, 1, 2] = 2.0
    weight = torch.zeros(pooling.width)
    weight[pooling.width // 2 + 5] = 3.0
    expected = torch.zeros(1, 2, 3)
    expected[0, 1, 2] = 3.0
    torch.testing.assert_close(pooling.attribute(tokens, weight), expected)
    tokens[0, 5, 0, 0] = 2.0  # a tie: shared in equal parts
    expected[0, 1, 2] = expected[0, 0, 0] = 1.5
    torch.testing.assert_close(pooling.attribute(tokens, weight), expected)


def test_rounding_leaves_255_levels_a_row_and_is_idempotent(weights):
    backbone = load_backbone(weights)
    before = backbone.vit.blocks[0].mlp.fc1.weight.clone()
    round_to_storage(backbone)
    once = backbone.vit.blocks[0].mlp.fc1.weight.clone()
    steps = once / (before.abs().amax(dim=1, keepdim=True) / 127)
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert steps.abs().max() <= 127.001
    assert not torch.equal(once, before)
    round_to_storage(backbone)
    torch.testing.assert_close(backbone.vit.blocks[0].mlp.fc1.weight, once, atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet99.safetensors", "timm model"),
        ("resnet18.safetensors", "expected a Vision Transformer"),
        ("test_vit.safetensors", "not weights of"),
    ],
)
def test_wrong_weights_are_named(tmp_path, name, message):
    path = tmp_path / name
    save_file({"other": torch.zeros(2)}, path)
    with pytest.raises(ConfigError, match=message) as caught:
        load_backbone(path)
    assert str(caught.value).startswith(name.split(".")[0])
    assert "\n" not in str(caught.value)
