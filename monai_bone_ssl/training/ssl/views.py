"""Multi-crop views of radiographs (arXiv:2006.09882, arXiv:2104.14294), made for a batch on the device.

Random numbers are drawn on the CPU for the whole global batch, the first process's images first, and each
process takes its rows. So one process with a batch of 2 B sees what two with B each see, to rounding, and the
generators stay alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.compute.distributed import Process
from monai_bone_ssl.training.data.augmentation import INTENSITY_DRAWS, draw_intensities, vary_intensity
from monai_bone_ssl.training.ssl.batches import Batch
from monai_bone_ssl.training.ssl.crops import (
    CROP_DRAWS,
    crop_matrices,
    draw_crops,
    first_with_structure,
    image_pyramid,
    sample_crops,
)

__all__ = ["MultiCrop", "View", "dino_views"]

_CANDIDATES = 4  # crops drawn for a view, of which the first with structure is taken


class View(NamedTuple):
    """Size, content and blur of one view of an image."""

    size: int
    """Side in pixels."""
    scale: tuple[float, float]
    """Smallest and largest share of the content's area, 0 to 1."""
    blur_probability: float
    """Probability of a blur, 0 to 1."""
    from_partner: bool = False
    """Whether the view shows the image's partner: another image of the same study, or the image itself."""


def dino_views(global_size: int, local_size: int, local_views: int) -> list[View]:
    """DINO's two global views, then its local ones; the second half of each shows the partner.

    Parameters
    ----------
    global_size, local_size
        Side of the views in pixels.
    local_views
        Number of local views.
    """
    return [
        View(global_size, (0.32, 1.0), blur_probability=1.0),
        View(global_size, (0.32, 1.0), blur_probability=0.1, from_partner=True),
        *(View(local_size, (0.05, 0.32), 0.5, 2 * index >= local_views) for index in range(local_views)),
    ]


class MultiCrop:
    """Random crops in any orientation (see ``crops``) with varied grey levels (see ``augmentation``).

    Raises
    ------
    ConfigError
        If the side of a view is not a multiple of the patch size.
    """

    def __init__(self, patch_size: int, views: Sequence[View]) -> None:
        for view in views:
            if view.size < patch_size or view.size % patch_size:
                text = f"view of {view.size} pixels: expected a multiple of the patch size, {patch_size}"
                raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        self.views = views

    @property
    def show_partners(self) -> bool:
        """Whether any view shows an image's partner."""
        return any(view.from_partner for view in self.views)

    @torch.no_grad()
    def __call__(self, batch: Batch, random: torch.Generator, process: Process) -> list[Tensor]:
        """Views of a batch.

        Parameters
        ----------
        batch
            This process's B images.
        random
            Source of random numbers on the CPU, in the same state on all processes.
        process
            This process; the views are made on its device.

        Returns
        -------
        list of float32 [B, 1, side, side] in [0, 1]
            The views, in their order.
        """
        images, device = len(batch.canvases), process.device
        uniform, seeds = _draw(process.count * images, len(self.views), random)
        rows = process.rows(images)
        uniform = uniform[rows].to(device, non_blocking=True)
        image = partner = _pyramid(batch.canvases, batch.sizes, device)
        if batch.partner_canvases is not batch.canvases:
            partner = _pyramid(batch.partner_canvases, batch.partner_sizes, device)
        return [
            _make_view(view, *(partner if view.from_partner else image), uniform[:, i], seeds[rows, i])
            for i, view in enumerate(self.views)
        ]


def _pyramid(canvases: Tensor, sizes: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images on the device at all levels, and the rows and columns [B, 2] of their contents."""
    return image_pyramid(canvases.to(device, non_blocking=True)), sizes.to(device, non_blocking=True)


def _draw(images: int, views: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random choices: numbers [images, views, draws] in [0, 1), seeds of noise [images, views]."""
    draws = _CANDIDATES * CROP_DRAWS + INTENSITY_DRAWS
    uniform = torch.rand(images, views, draws, generator=generator)
    seeds = torch.randint(2**62, (images, views), generator=generator)
    return uniform, seeds


def _make_view(view: View, pyramid: Tensor, sizes: Tensor, uniform: Tensor, seeds: Tensor) -> Tensor:
    for_crops, for_intensity = uniform.tensor_split([_CANDIDATES * CROP_DRAWS], dim=1)
    candidates = [
        crop_matrices(draw_crops(draws, view.scale), sizes) for draws in for_crops.chunk(_CANDIDATES, dim=1)
    ]
    matrices = first_with_structure(pyramid, torch.stack(candidates, dim=1), sizes)
    pixels = sample_crops(pyramid, matrices, sizes, view.size)
    return vary_intensity(pixels, draw_intensities(for_intensity, view.blur_probability), seeds)
