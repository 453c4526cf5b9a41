"""Block-wise masks: how many patches, in which views, and that they come in blocks."""

from __future__ import annotations

import pytest
import torch

from monai_bone_ssl.training.ssl.masking import block_masks


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("grid", [(16, 16), (7, 19), (1, 5), (2, 2)])
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 1.0])
def test_a_fixed_ratio_is_met_exactly(grid, ratio):
    height, width = grid
    mask = block_masks(40, height, width, generator(), probability=1.0, ratio=(ratio, ratio))
    assert mask.shape == (40, height * width)
    assert mask.dtype == torch.bool
    assert set(mask.sum(dim=1).tolist()) == {round(ratio * height * width)}


def test_ratios_are_uniform_between_their_ends():
    share = block_masks(2000, 16, 16, generator(), probability=1.0, ratio=(0.1, 0.5)).float().mean(dim=1)
    assert 25 / 256 <= share.min() < 0.12
    assert 0.48 < share.max() <= 0.5
    quartiles = share.quantile(torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quartiles, torch.tensor([0.2, 0.3, 0.4]), atol=0.02, rtol=0)


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.5, 920, 1080), (1.0, 2000, 2000)])
def test_a_share_of_the_views_is_masked(probability, low, high):
    masked = block_masks(2000, 8, 8, generator(), probability=probability).any(dim=1).sum()
    assert low <= masked <= high


def neighbours_masked(mask):
    """Share of the masked patches' right-hand neighbours that are masked too."""
    return mask[:, :, 1:][mask[:, :, :-1]].float().mean().item()


def test_masks_come_in_blocks_and_not_as_single_patches():
    mask = block_masks(300, 16, 16, generator(), probability=1.0, ratio=(0.3, 0.3)).reshape(-1, 16, 16)
    scattered = torch.rand(300, 16, 16, generator=generator()) < 0.3
    assert neighbours_masked(scattered) == pytest.approx(0.3, abs=0.02)
    assert neighbours_masked(mask) > 0.7


def test_masks_reach_every_patch_and_favour_no_side():
    share = block_masks(4000, 8, 8, generator(), probability=1.0, ratio=(0.3, 0.3)).float().mean(dim=0)
    assert share.min() > 0.05  # the corners: fewer blocks reach them
    assert share.max() < 0.6
    square = share.reshape(8, 8)
    for other in (square.flip(0), square.flip(1), square.T):
        torch.testing.assert_close(square, other, atol=0.04, rtol=0)


def test_a_seed_gives_the_same_masks_and_another_seed_others():
    assert torch.equal(block_masks(9, 16, 16, generator(1)), block_masks(9, 16, 16, generator(1)))
    assert not torch.equal(block_masks(9, 16, 16, generator(1)), block_masks(9, 16, 16, generator(2)))


def test_views_of_a_batch_get_different_masks():
    mask = block_masks(50, 16, 16, generator(), probability=1.0)
    assert len(mask.unique(dim=0)) == 50
