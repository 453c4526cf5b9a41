"""Block-wise masks of patches, as BEiT (arXiv:2106.08254) and iBOT (arXiv:2111.07832) draw them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["block_masks"]

_BLOCKS = 16  # proposed for a view
_SMALLEST = 4  # patches of a block
_MAX_ASPECT = 1 / 0.3


def block_masks(
    images: int,
    height: int,
    width: int,
    generator: torch.Generator,
    probability: float = 0.5,
    ratio: tuple[float, float] = (0.1, 0.5),
) -> Tensor:
    """Masks made of rectangles, for one view of each image of a global batch.

    Blocks are added as long as they fit the number of patches wanted; what is then missing is filled with
    single patches, so that the number is met.

    Parameters
    ----------
    images
        Number of images of the global batch (B).
    height, width
        Grid of patches (h, w).
    generator
        Source of random numbers on the CPU, in the same state on all processes.
    probability
        Probability that a view is masked at all.
    ratio
        Smallest and largest share of a masked view's patches, drawn uniformly.

    Returns
    -------
    Tensor
        bool [B, h * w] on the CPU, in row order; True where the student does not see the patch.
    """
    chosen = torch.rand(images, generator=generator) < probability
    share = ratio[0] + (ratio[1] - ratio[0]) * torch.rand(images, generator=generator)
    patches = chosen * (share * height * width).round().long()  # [B]
    mask = torch.zeros(images, height * width, dtype=torch.bool)
    for _ in range(_BLOCKS):
        missing = patches - mask.sum(dim=1)
        block = _random_blocks(missing, height, width, generator)
        fits = (block & ~mask).sum(dim=1) <= missing
        mask |= block & fits[:, None]
    return mask | _random_patches(~mask, patches - mask.sum(dim=1), generator)


def _random_blocks(missing: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """A rectangle [B, h * w] for each view, of 4 patches to as many as are ``missing`` [B]."""
    area, aspect, top, left = torch.rand(len(missing), 4, generator=generator).unbind(dim=1)
    patches = _SMALLEST + (missing - _SMALLEST).clamp_min(0) * area
    rows_over_columns = torch.exp((2 * aspect - 1) * math.log(_MAX_ASPECT))
    rows = (patches * rows_over_columns).sqrt().round().clamp(1, height)
    columns = (patches / rows_over_columns).sqrt().round().clamp(1, width)
    top = (top * (height - rows + 1)).floor()
    left = (left * (width - columns + 1)).floor()
    in_rows = _between(torch.arange(height), top, top + rows)  # [B, h]
    in_columns = _between(torch.arange(width), left, left + columns)  # [B, w]
    return (in_rows[:, :, None] & in_columns[:, None, :]).flatten(1)


def _between(index: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    return (index >= start[:, None]) & (index < stop[:, None])


def _random_patches(free: Tensor, count: Tensor, generator: torch.Generator) -> Tensor:
    """``count`` [B] patches of each view, of those that are ``free`` [B, N]."""
    order = torch.rand(free.shape, generator=generator).masked_fill(~free, 2.0)
    rank = order.argsort(dim=1).argsort(dim=1)
    return rank < count[:, None]
