"""Multi-crop views of radiographs (arXiv:2006.09882, arXiv:2104.14294), made for a batch on the device.

::

    views = MultiCrop(patch_size=14)                       # 2 global views of 224, 6 local ones of 98 pixels
    generator = torch.Generator().manual_seed(seed of this step)   # on the CPU, alike on every process
    crops = views(canvases, sizes, partner_canvases, partner_sizes, generator, rank, world_size)

``crops`` is a list: the global views, then the local ones, each float32 [B, 1, side, side] in [0, 1].

Random numbers are drawn on the CPU for the whole global batch (``world_size * B`` images, those of rank 0
first), and each process takes its rows. So one process with a batch of 2 B sees what two with B each see, bit
for bit on the same kind of device, and the generators stay alike.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.data.intensity import INTENSITY_DRAWS, draw_intensities, vary_intensity
from monai_bone_ssl.training.ssl.crops import (
    CROP_DRAWS,
    crop_matrices,
    draw_crops,
    first_with_structure,
    image_pyramid,
    sample_crops,
)

__all__ = ["MultiCrop"]

_CANDIDATES = 4  # crops drawn a view, of which the first with structure is taken


class _View(NamedTuple):
    size: int
    scale: tuple[float, float]
    blur_probability: float
    from_partner: bool


class MultiCrop(nn.Module):
    """Random crops in any orientation with varied grey levels; see ``crops`` and ``intensity`` for both.

    The first half of the global and of the local views shows the image, the second half its partner: another
    view of the same study, or the image itself.

    Parameters
    ----------
    patch_size
        Side of a patch in pixels.
    global_size, local_size
        Side of the views in pixels, multiples of ``patch_size``.
    global_views, local_views
        Number of views.
    global_scale, local_scale
        Smallest and largest share of the content's area.
    blur
        Probability of a blur for the first global view, the other global views and the local views; DINO's.

    Raises
    ------
    ConfigError
        If a side is not a multiple of the patch size, or there is no global view.
    """

    def __init__(
        self,
        patch_size: int,
        *,
        global_size: int = 224,
        local_size: int = 98,
        global_views: int = 2,
        local_views: int = 6,
        global_scale: tuple[float, float] = (0.32, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.32),
        blur: tuple[float, float, float] = (1.0, 0.1, 0.5),
    ) -> None:
        super().__init__()
        for size in (global_size, local_size):
            if size < patch_size or size % patch_size:
                text = f"view of {size} pixels: expected a multiple of the patch size, {patch_size}"
                raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        if global_views < 1 or local_views < 0:
            text = f"{global_views} global and {local_views} local views: expected at least 1 and 0"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        first, other, local = blur
        self._views = [
            _View(global_size, global_scale, other if index else first, 2 * index >= global_views)
            for index in range(global_views)
        ] + [_View(local_size, local_scale, local, 2 * index >= local_views) for index in range(local_views)]

    @torch.no_grad()
    def forward(
        self,
        canvases: Tensor,
        sizes: Tensor,
        partner_canvases: Tensor,
        partner_sizes: Tensor,
        generator: torch.Generator,
        rank: int = 0,
        world_size: int = 1,
    ) -> list[Tensor]:
        """Views of a batch.

        Parameters
        ----------
        canvases, partner_canvases
            uint8 [B, 1, S, S], the content in the top left corner; the views are made on their device. An
            image may be its own partner; pass the same tensor where all are.
        sizes, partner_sizes
            int64 [B, 2]: rows and columns of the contents.
        generator
            On the CPU, in the same state on all processes.
        rank, world_size
            This process, and their number; each has B images.

        Returns
        -------
        list of float32 [B, 1, side, side] in [0, 1]
            The global views, then the local ones.
        """
        device, images = canvases.device, len(canvases)
        uniform, seeds = _draw(world_size * images, len(self._views), generator)
        rows = slice(rank * images, (rank + 1) * images)
        uniform = uniform[rows].to(device, non_blocking=True)
        image = image_pyramid(canvases), sizes.to(device, non_blocking=True)
        partner = image
        if partner_canvases is not canvases:
            partner = image_pyramid(partner_canvases), partner_sizes.to(device, non_blocking=True)
        views = []
        for index, view in enumerate(self._views):
            pyramid, content = partner if view.from_partner else image
            views.append(_make_view(view, pyramid, content, uniform[:, index], seeds[rows, index]))
        return views


def _draw(images: int, views: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """All that is random: numbers [images, views, draws] in [0, 1), seeds of noise [images, views]."""
    draws = _CANDIDATES * CROP_DRAWS + INTENSITY_DRAWS
    uniform = torch.rand(images, views, draws, generator=generator)
    seeds = torch.randint(2**62, (images, views), generator=generator)
    return uniform, seeds


def _make_view(view: _View, pyramid: Tensor, sizes: Tensor, uniform: Tensor, seeds: Tensor) -> Tensor:
    for_crops, for_intensity = uniform.tensor_split([_CANDIDATES * CROP_DRAWS], dim=1)
    candidates = [
        crop_matrices(draw_crops(draws, view.scale), sizes) for draws in for_crops.chunk(_CANDIDATES, dim=1)
    ]
    matrices = first_with_structure(pyramid, torch.stack(candidates, dim=1), sizes)
    pixels = sample_crops(pyramid, matrices, sizes, view.size)
    return vary_intensity(pixels, draw_intensities(for_intensity, view.blur_probability), seeds)
