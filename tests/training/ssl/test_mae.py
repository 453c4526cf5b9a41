"""The masked autoencoder against a computation patch by patch, and that it learns an image by heart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from monai_bone_ssl.training.networks.backbone import GreyViT
from monai_bone_ssl.training.ssl.mae import MaskedAutoencoder, patchify

PATCH = 4


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def mae():
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=16, patch_size=PATCH, in_chans=1, embed_dim=24, depth=2, num_heads=2, num_classes=0
    )
    return MaskedAutoencoder(GreyViT(vit), decoder_width=32, decoder_depth=1, mask_ratio=0.75).eval()


@pytest.fixture
def images():
    """Not square, not the grid of the position embedding: 3 x 4 patches, 3 of them visible."""
    return torch.rand(2, 1, 3 * PATCH, 4 * PATCH, generator=generator())


@pytest.fixture
def noise():
    return torch.rand(2, 12, generator=generator(1))


def naive_loss(mae, images, noise):
    """Image by image, patch by patch; the blocks and linear layers are the model's own."""
    errors = []
    for image, numbers in zip(images, noise, strict=True):
        order = np.argsort(numbers.numpy())
        visible, masked = order[:3], order[3:]
        embedded = mae.backbone.embed_patches(image[None]).flatten(2).transpose(1, 2)
        tokens = mae.backbone.add_position(embedded, 3, 4)
        x = torch.cat([tokens[:, :1]] + [tokens[:, 1 + n : 2 + n] for n in visible], dim=1)
        x = mae.embed(mae.backbone.vit.norm(mae.backbone.run_blocks(x, 0, 2)))
        full = [x[:, :1]]
        for n in range(12):
            token = x[:, 1 + list(visible).index(n)] if n in visible else mae.mask_token[None]
            full.append((token + sincos(n // 4, n % 4, 32))[:, None])
        x = torch.cat(full, dim=1)
        for block in mae.blocks:
            x = block(x)
        predicted = mae.predict(mae.norm(x))[0].numpy().astype(np.float64)
        for n in masked:
            row, column = divmod(int(n), 4)
            pixels = image[0, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
            pixels = pixels.numpy().astype(np.float64).flatten()
            target = (pixels - pixels.mean()) / np.sqrt(pixels.var(ddof=1) + 1e-6)
            errors.append(np.mean((predicted[1 + n] - target) ** 2))
    return np.mean(errors)


def sincos(row, column, width):
    """Fixed position embedding of the paper: a quarter of the channels each for two sines and two cosines."""
    bands = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    parts = (np.sin(row * bands), np.sin(column * bands), np.cos(row * bands), np.cos(column * bands))
    return torch.tensor(np.concatenate(parts), dtype=torch.float32)[None]


def test_the_loss_equals_the_naive_one(mae, images, noise):
    with torch.no_grad():
        loss, expected = mae(images, noise).loss.item(), naive_loss(mae, images, noise)
    assert loss == pytest.approx(expected, rel=1e-4)


def test_three_quarters_are_masked_those_with_the_highest_noise(mae, noise):
    visible = mae.visible(noise)
    assert visible.shape == (2, 3)
    for row, numbers in zip(visible, noise, strict=True):
        assert sorted(row.tolist()) == sorted(np.argsort(numbers.numpy())[:3].tolist())


@pytest.mark.parametrize(("ratio", "kept"), [(0.5, 6), (0.75, 3), (0.9, 1), (0.99, 1)])
def test_at_least_one_patch_stays(mae, noise, ratio, kept):
    mae.mask_ratio = ratio
    assert mae.visible(noise).shape == (2, kept)


def test_the_encoder_cannot_see_masked_patches(mae, images, noise):
    visible = mae.visible(noise)
    hidden = torch.ones(2, 12, dtype=torch.bool).scatter(1, visible, False)
    pixels = hidden.reshape(2, 3, 4).repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None]
    with torch.no_grad():
        encoded = mae.encode(images, visible)
        unchanged = mae.encode(torch.where(pixels, 0.123, images), visible)
        changed = mae.encode(torch.where(pixels, images, 0.123), visible)
    assert encoded.shape == (2, 1 + 3, 24)
    assert torch.equal(encoded, unchanged)
    assert not torch.allclose(encoded, changed, atol=1e-3)


def test_patches_are_in_row_order():
    image = torch.arange(6 * 4.0).reshape(1, 1, 4, 6)
    expected = [
        [0, 1, 6, 7],
        [2, 3, 8, 9],
        [4, 5, 10, 11],
        [12, 13, 18, 19],
        [14, 15, 20, 21],
        [16, 17, 22, 23],
    ]
    assert patchify(image, 2)[0].tolist() == expected


def test_the_loss_does_not_depend_on_brightness_and_contrast_of_the_targets(mae, images, noise):
    patches = patchify(images, PATCH)
    assert patches.var(dim=2).min() > 1e-3
    with torch.no_grad():
        mae.embed.weight.zero_()  # the prediction is the same for any image
        loss, dimmer = mae(images, noise).loss, mae(images * 0.5 + 0.2, noise).loss
    torch.testing.assert_close(loss, dimmer, rtol=1e-3, atol=0)


def test_it_learns_one_image_by_heart(mae):
    rows, columns = np.indices((12, 16))
    image = torch.tensor((np.sin(rows / 2) * np.cos(columns / 3) + 1) / 2, dtype=torch.float32)[None, None]
    mae.train()
    optimizer = torch.optim.AdamW(mae.parameters(), lr=5e-3)
    losses = []
    for step in range(180):
        loss = mae(image.expand(4, -1, -1, -1), torch.rand(4, 12, generator=generator(step))).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[:5]) > 0.8  # nothing known: about the variance, 1
    assert np.mean(losses[-20:]) < 0.1
    assert all(parameter.grad is not None for parameter in mae.parameters())


def test_it_runs_under_autocast(mae, images, noise):
    plain = mae(images, noise).loss.item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = mae(images, noise).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(plain, rel=0.05)
