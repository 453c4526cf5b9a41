"""The network against timm's own forward pass, and its patches against a naive computation."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.model.inference import OUTPUT_NAMES
from monai_bone_ssl.training.networks.backbone import (
    bicubic_matrix,
    fold_normalisation,
    load_backbone,
    round_to_storage,
    save_backbone,
)
from monai_bone_ssl.training.networks.network import NOT_PRESENT, PatchProbe, ProbedViT, TokenPooling

NAME = "test_vit"
HIGHEST = 3


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
    flat = tokens.numpy().reshape(2, 2, pooling.token_width, -1)  # [view, B, L * C, h * w]
    expected = np.concatenate((flat.mean(3), flat.max(3)), axis=2).mean(axis=0)
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-6)
    last = flat.mean(3).mean(0)[:, -tokens.shape[1] // 3 :]
    np.testing.assert_allclose(pooling.last_mean(features).numpy(), last, atol=1e-6)


@pytest.fixture
def network(pooling):
    """With weights of the size that fitted ones have."""
    torch.manual_seed(3)
    network = ProbedViT(pooling, hidden=6, highest=HIGHEST, body_parts=2, components=4)
    torch.nn.init.normal_(network.probe.weight, std=0.05)
    torch.nn.init.normal_(network.patch_probe.hidden.weight, std=0.1)
    torch.nn.init.normal_(network.patch_probe.score.weight)
    torch.nn.init.constant_(network.probe.weight[:, -1:].data, 0.7)
    return network.eval().requires_grad_(False)


def outputs(network, image):
    """Outputs of the network by name."""
    with torch.inference_mode():
        return dict(zip(OUTPUT_NAMES, network(image), strict=True))


def test_left_and_right_get_the_same_answer_and_mirrored_patches(network, image):
    straight, mirrored = outputs(network, image), outputs(network, image.flip(3))
    torch.testing.assert_close(mirrored["logits"], straight["logits"], atol=1e-5, rtol=0)
    for name in ("patch_scores", "contribution"):
        torch.testing.assert_close(mirrored[name].flip(2), straight[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(160, 160), (64, 160), (96, 32)])
def test_contributions_sum_to_the_logit_on_any_grid(network, size):
    out = outputs(network, torch.rand(2, 1, *size))
    assert out["contribution"].shape == (2, size[0] // 16, size[1] // 16)
    total = out["contribution"].double().sum(dim=(1, 2)) + out["offset"]
    torch.testing.assert_close(total.float(), out["logits"], atol=1e-4, rtol=0)


def test_the_last_feature_is_the_mean_of_the_highest_patch_scores(network, image):
    out = outputs(network, image)
    highest = np.sort(out["patch_scores"].numpy().reshape(2, -1), axis=1)[:, -HIGHEST:]
    np.testing.assert_allclose(out["features"][:, -1].numpy(), highest.mean(axis=1), atol=1e-6)
    weight, bias = network.probe.weight[0].numpy(), network.probe.bias[0].numpy()
    np.testing.assert_allclose(out["logits"].numpy(), out["features"].numpy() @ weight + bias, atol=1e-5)


def test_a_patch_score_depends_on_no_token_but_its_own(network):
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randn(2, network.pooling.token_width, 3, 4, generator=generator)
    present = torch.ones(1, 3, 4, dtype=torch.bool)
    before = network.patch_probe(tokens, present)
    tokens[0, :, 1, 2] += 1
    tokens[1, :, 1, 1] += 1  # the same place in the mirror image
    changed = (network.patch_probe(tokens, present) != before).numpy()
    assert np.argwhere(changed).tolist() == [[0, 1, 2]]


def test_the_highest_patches_own_their_share_and_the_others_nothing():
    probe = PatchProbe(width=5, hidden=2, highest=HIGHEST)
    scores = torch.tensor([[[1.0, 9.0, 2.0], [7.0, -3.0, 8.0]]])
    torch.testing.assert_close(probe.attribute(scores), torch.tensor([[[0, 3, 0], [7 / 3, 0, 8 / 3]]]))
    torch.testing.assert_close(probe.attribute(scores).sum(), probe.top_mean(scores)[0])


def test_a_black_patch_never_has_a_positive_score(network, image):
    """Whatever the probe has learnt, and also where fewer patches than it averages show anything."""
    torch.nn.init.constant_(network.patch_probe.score.bias, 1000.0)
    image[0, :, 32:64, 48:96] = 0
    image[1] = 0
    image[1, :, 5, 5] = 0.1
    out = outputs(network, image)
    black = torch.nn.functional.max_pool2d(image, 16)[:, 0] == 0
    assert black.sum() == 2 * 3 + 99
    assert (out["patch_scores"][black] == NOT_PRESENT).all()
    assert (out["patch_scores"][~black] > 0).all()
    assert torch.sigmoid(torch.tensor(NOT_PRESENT)) < 1e-40
    total = out["contribution"].double().sum(dim=(1, 2)) + out["offset"]
    torch.testing.assert_close(total.float(), out["logits"], atol=1e-4, rtol=1e-6)


def test_the_contribution_of_a_maximum_stands_at_its_patch(pooling):
    tokens = torch.zeros(2, pooling.token_width, 2, 3)  # an image, and its mirror image without signs
    tokens[0, 5, 1, 2] = 2.0
    weight = torch.zeros(pooling.width)
    weight[pooling.token_width + 5] = 3.0
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
