"""Feature extractors against timm's own intermediate outputs and naive averages."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.training.networks.backbone import create_backbone, load_backbone, round_to_storage
from monai_bone_ssl.training.networks.cnn import load_cnn
from monai_bone_ssl.training.networks.extractors import (
    ClassTokens,
    CNNFeatures,
    MirrorAveraged,
    TokenFeatures,
    load_extractor,
    load_vit,
)
from monai_bone_ssl.training.networks.network import TokenPooling

VIT, CNN = "test_vit", "test_resnet"  # timm's smallest: 64 and 96 channels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name in (VIT, CNN):
        save_file(timm.create_model(name).state_dict(), folder / f"{name}.with_head.safetensors")
        save_file(timm.create_model(name, num_classes=0).state_dict(), folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def backbone(folder):
    return load_backbone(folder / f"{VIT}.safetensors")


@pytest.fixture
def image():
    return torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_token_features_are_the_pooled_ones(backbone, image):
    pooling = TokenPooling(backbone, blocks=2)
    extractor = TokenFeatures(pooling)
    torch.testing.assert_close(extractor(image), pooling(image).features, atol=0, rtol=0)
    assert extractor(image).shape == (2, extractor.width)


@torch.inference_mode()
def test_class_tokens_of_the_last_blocks_then_the_mean_patch(backbone):
    extractor = ClassTokens(backbone, blocks=3)
    image = torch.rand(2, 1, 160, 160, generator=torch.Generator().manual_seed(1))  # what timm itself takes
    outputs = backbone.vit.forward_intermediates(
        image, indices=3, norm=True, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
    )
    expected = [prefix.reshape(2, -1) for _, prefix in outputs] + [outputs[-1][0].mean(dim=1)]
    assert extractor.width == 4 * backbone.width
    torch.testing.assert_close(extractor(image), torch.cat(expected, dim=1), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_mirror_averaged_is_the_mean_of_both_views_one_by_one(folder, image):
    plain = CNNFeatures(load_cnn(str(folder / f"{CNN}.safetensors")))
    extractor = MirrorAveraged(plain)
    expected = (plain(image) + plain(torch.from_numpy(image.numpy()[..., ::-1].copy()))) / 2
    torch.testing.assert_close(extractor(image), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(extractor(image.flip(3)), extractor(image), atol=1e-5, rtol=1e-5)
    assert extractor.width == plain.width == 96


def test_what_a_user_names_becomes_the_products_features(folder, image):
    """With and without a classifier in the file, and rounded as the model file is."""
    vit = load_backbone(folder / f"{VIT}.safetensors")
    round_to_storage(vit)
    product = TokenFeatures(TokenPooling(vit, blocks=4))
    named = load_extractor(str(folder / f"{VIT}.safetensors"))
    assert named.recipe == product.recipe
    with torch.inference_mode():
        torch.testing.assert_close(named(image), product(image), atol=0, rtol=0)
    assert load_extractor(str(folder / f"{CNN}.safetensors")).stride == 32
    assert load_extractor(str(folder / f"{CNN}.with_head.safetensors")).width == 96
    class_tokens = load_extractor(str(folder / f"{VIT}.safetensors"), "class")
    assert class_tokens.width == 5 * 64
    assert named.stride == class_tokens.stride == 16


def test_recipe_tells_apart_all_that_changes_features(folder):
    def backbone(name=VIT):
        torch.manual_seed(3)
        return create_backbone(name)

    same, other = backbone(), backbone()
    assert ClassTokens(same, 2).recipe == ClassTokens(other, 2).recipe, "weights, not objects"
    with torch.no_grad():
        other.vit.blocks[0].mlp.fc1.bias[0] += 1e-3
    plain = CNNFeatures(load_cnn(str(folder / f"{CNN}.safetensors")))
    recipes = [
        ClassTokens(same, 2).recipe,
        ClassTokens(same, 3).recipe,
        ClassTokens(other, 2).recipe,
        TokenFeatures(TokenPooling(same, 2)).recipe,
        TokenFeatures(TokenPooling(same, 3)).recipe,
        plain.recipe,
        MirrorAveraged(plain).recipe,
        MirrorAveraged(ClassTokens(same, 2)).recipe,
    ]
    assert len(set(recipes)) == len(recipes)


@pytest.mark.parametrize(
    ("weights", "kind", "message"),
    [
        (f"{CNN}.safetensors", "tokens", "no features 'tokens', expected pooled"),
        (f"{VIT}.safetensors", "pooled", "no features 'pooled', expected tokens or class"),
        ("resnet99.safetensors", "auto", "timm model"),
        ("vit_tiny_patch16_224.safetensors", "auto", "not weights of vit_tiny_patch16_224"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(folder, weights, kind, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_extractor(str(folder / weights), kind)
    assert "\n" not in str(caught.value)


@torch.inference_mode()
def test_the_shipped_backbone_gives_the_features_of_the_shipped_model():
    extractor = load_extractor("shipped")
    assert isinstance(extractor, TokenFeatures)
    image = torch.rand(2, 1, 56, 70, generator=torch.Generator().manual_seed(2))
    by_onnxruntime = Model(default_model_folder()).predict(image.numpy()).features[:, :-1]
    np.testing.assert_allclose(extractor(image).numpy(), by_onnxruntime, atol=1e-4)
    assert all(parameter.requires_grad for parameter in load_vit("shipped").parameters())  # for fine-tuning
