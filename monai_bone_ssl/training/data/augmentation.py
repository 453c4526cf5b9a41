"""Light augmentation for supervised training: the radiograph as another exposure and position gave it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from monai_bone_ssl.training.data.intensity import apply_window

__all__ = ["augment"]

_MAX_ROTATION = math.radians(15)
_MAX_ZOOM = 1.2
_MAX_SHIFT = 0.1  # of half the image's side
_MAX_BLACK = 0.1  # grey level shown as black; the ground stays black
_MAX_WHITE_SHIFT = 0.15  # of the grey level shown as white
_MAX_GAMMA = 1.25


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror, rotate, zoom, shift and vary the grey levels of each image.

    Gentler than the views of self-supervised training: a crop could lose the finding that the label tells of.

    Parameters
    ----------
    images
        [B, 1, H, W] in [0, 1], on any device.
    generator
        On the CPU, so that every device gets the same choices.

    Returns
    -------
    [B, 1, H, W] in [0, 1]; 0 where nothing of the image lies.
    """
    choices = 2 * torch.rand(len(images), 8, generator=generator).to(images.device) - 1  # in [-1, 1)
    mirror, angle, zoom, x, y, black, white, gamma = choices.unbind(dim=1)
    grid = affine_grid(_matrices(mirror, angle, zoom, x, y), list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return apply_window(moved, _MAX_BLACK * (black + 1) / 2, 1 + _MAX_WHITE_SHIFT * white, _MAX_GAMMA**gamma)


def _matrices(mirror: Tensor, angle: Tensor, zoom: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Matrices [B, 2, 3] from output to input coordinates, for choices [B] in [-1, 1)."""
    scale = _MAX_ZOOM**zoom
    cos, sin = scale * (angle * _MAX_ROTATION).cos(), scale * (angle * _MAX_ROTATION).sin()
    side = torch.where(mirror < 0, -1.0, 1.0)
    to_x = torch.stack((side * cos, -side * sin, _MAX_SHIFT * x), dim=1)
    to_y = torch.stack((sin, cos, _MAX_SHIFT * y), dim=1)
    return torch.stack((to_x, to_y), dim=1)
