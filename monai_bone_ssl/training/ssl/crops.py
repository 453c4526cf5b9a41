"""Geometry of views: where a crop lies in its image, and its pixels, for a batch at a time on any device.

Coordinates are (x, y) in pixels of the canvas, continuous: the first pixel spans 0 to 1. A crop is a matrix
[2, 3] that maps the view's square, -1 to 1 in both axes, to these coordinates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

__all__ = [
    "CROP_DRAWS",
    "Crops",
    "crop_matrices",
    "draw_crops",
    "first_with_structure",
    "image_pyramid",
    "sample_crops",
]

#: Number of uniform numbers that :func:`draw_crops` takes for a view.
CROP_DRAWS = 7
_MAX_ASPECT = 4 / 3
_MAX_TILT = math.radians(20)
_HALVINGS = 3
_GLANCE = 14  # pixels of the small view that tells whether a crop is blank
_BLANK = 0.06  # standard deviation of its grey levels


class Crops(NamedTuple):
    """Random choices of B crops, each field [B], in units that fit an image of any size."""

    area: Tensor
    """Share of the content's area, 0 to 1."""
    aspect: Tensor
    """Width over height, 3/4 to 4/3."""
    left: Tensor
    """Position in the room that the crop's width leaves, 0 to 1."""
    top: Tensor
    """Position in the room that the crop's height leaves, 0 to 1."""
    angle: Tensor
    """Clockwise rotation of the picture about the crop's centre in radians: quarter turns and a tilt."""
    mirror: Tensor
    """-1 for a view that is mirrored left to right after the rotation, else 1."""


def draw_crops(uniform: Tensor, scale: tuple[float, float]) -> Crops:
    """Crops of all eight orientations, as radiographs come in any, tilted by up to 20 degrees.

    A quarter turn with or without a mirror covers horizontal and vertical flips.

    Parameters
    ----------
    uniform
        Random numbers [B, CROP_DRAWS] in [0, 1).
    scale
        Smallest and largest share of the content's area, 0 to 1.
    """
    area, aspect, left, top, turn, tilt, mirror = uniform.unbind(dim=1)
    quarter_turns = (4 * turn).floor() * (math.pi / 2)
    return Crops(
        area=scale[0] + (scale[1] - scale[0]) * area,
        aspect=_MAX_ASPECT ** (2 * aspect - 1),
        left=left,
        top=top,
        angle=quarter_turns + (2 * tilt - 1) * _MAX_TILT,
        mirror=torch.where(mirror < 0.5, -1.0, 1.0),
    )


def crop_matrices(crops: Crops, sizes: Tensor) -> Tensor:
    """Matrices [B, 2, 3] from a view's square to canvas pixels.

    A crop that is too long for its content is cut to it, and then to the largest aspect, so that a long
    forearm is never squeezed: from a narrow image a crop takes less than the area drawn. A tilted crop may
    show pixels outside its upright rectangle, where the content has any.

    Parameters
    ----------
    crops
        Random choices of one crop an image.
    sizes
        Rows and columns [B, 2] of the contents.
    """
    rows, columns = sizes.float().unbind(dim=1)
    side = (crops.area * rows * columns).sqrt()
    height = torch.minimum(side / crops.aspect.sqrt(), rows)
    width = torch.minimum(side * crops.aspect.sqrt(), columns)
    height, width = (
        torch.minimum(height, width * _MAX_ASPECT),
        torch.minimum(width, height * _MAX_ASPECT),
    )
    x = crops.left * (columns - width) + width / 2
    y = crops.top * (rows - height) + height / 2
    cos, sin = crops.angle.cos(), crops.angle.sin()
    to_x = torch.stack((width / 2 * cos * crops.mirror, width / 2 * sin, x), dim=1)
    to_y = torch.stack((-height / 2 * sin * crops.mirror, height / 2 * cos, y), dim=1)
    return torch.stack((to_x, to_y), dim=1)


def image_pyramid(canvases: Tensor) -> Tensor:
    """Canvases in [0, 1] at full, half, quarter and eighth size, side by side in one image.

    So each image of a batch can be sampled from the level that suits its crop, in one call.

    Parameters
    ----------
    canvases
        Images uint8 [B, 1, S, S].

    Returns
    -------
    float32 [B, 1, S', 1.875 * S']
        S' is S, made a multiple of 8 with black.
    """
    side = canvases.shape[-1]
    margin = -side % 2**_HALVINGS
    levels = [pad(canvases.float() / 255, (0, margin, 0, margin))]
    for _ in range(_HALVINGS):
        levels.append(avg_pool2d(levels[-1], 2))
    height = levels[0].shape[2]
    return torch.cat([pad(level, (0, 0, 0, height - level.shape[2])) for level in levels], dim=3)


def sample_crops(pyramid: Tensor, matrices: Tensor, sizes: Tensor, size: int) -> Tensor:
    """Pixels [B, 1, size, size] of crops; 0 outside the content, whatever the canvas holds there.

    Without aliasing: a crop is sampled at twice the view's resolution, from the level whose pixels are the
    largest that are not larger than the view's, and averaged 2 x 2.

    Parameters
    ----------
    pyramid
        Images from :func:`image_pyramid`.
    matrices
        Crops [B, 2, 3] from :func:`crop_matrices`.
    sizes
        Rows and columns [B, 2] of the contents.
    size
        Side of a view in pixels.
    """
    pixel = torch.exp2(_levels(matrices, size))  # [B]: canvas pixels along a pixel of the image's level
    x, y = _sampling_points(matrices / pixel[:, None, None], 2 * size)  # each [B, 2 * size, 2 * size]
    rows, columns = (sizes / pixel[:, None])[:, :, None, None].unbind(dim=1)  # each [B, 1, 1]
    inside = (x >= 0) & (x <= columns) & (y >= 0) & (y <= rows)
    # Interpolation reaches half a pixel beyond a point: points near the content's edge are moved inwards.
    x = x.clamp_min(0.5).minimum(columns.floor() - 0.5)
    y = y.clamp_min(0.5).minimum(rows.floor() - 0.5)
    height, width = pyramid.shape[2:]
    left = (2 * height - 2 * height / pixel)[:, None, None]  # edge of the level: height * (1 + 1/2 + 1/4 ...)
    grid = torch.stack((2 * (x + left) / width - 1, 2 * y / height - 1), dim=3)
    fine = grid_sample(pyramid, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return avg_pool2d(fine * inside[:, None], 2)


def first_with_structure(pyramid: Tensor, candidates: Tensor, sizes: Tensor) -> Tensor:
    """Each image's first crop [B, 2, 3] that is not blank, of its candidates [B, K, 2, 3]; else the first.

    Much of many radiographs is empty background, of which no view tells anything about the image.
    """
    glances = [sample_crops(pyramid, matrices, sizes, _GLANCE) for matrices in candidates.unbind(dim=1)]
    contrast = torch.stack([glance.std(dim=(1, 2, 3)) for glance in glances], dim=1)  # [B, K]
    chosen = (contrast > _BLANK).int().argmax(dim=1)  # the first of the largest
    return candidates[torch.arange(len(chosen), device=chosen.device), chosen]


def _levels(matrices: Tensor, size: int) -> Tensor:
    (xu, xv), (yu, yv) = (row[:, :2].unbind(dim=1) for row in matrices.unbind(dim=1))
    stride = (xu * yv - xv * yu).abs().sqrt() * 2 / size  # canvas pixels a view pixel
    return stride.log2().floor().clamp(0, _HALVINGS)


def _sampling_points(matrices: Tensor, size: int) -> tuple[Tensor, Tensor]:
    # affine_grid does the same by a matrix product, which runs in TF32 or bfloat16 where training allows
    # these: a quarter of a pixel off, or worse.
    centres = (torch.arange(size, device=matrices.device) + 0.5) * (2 / size) - 1
    u, v = centres[None, None, :], centres[None, :, None]
    (xu, xv, x0), (yu, yv, y0) = (row[:, :, None, None].unbind(dim=1) for row in matrices.unbind(dim=1))
    return xu * u + xv * v + x0, yu * u + yv * v + y0
