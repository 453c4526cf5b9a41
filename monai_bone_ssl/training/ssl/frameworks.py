"""The frameworks of self-supervised learning as the training loop sees them, all alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from monai_bone_ssl.training.compute.distributed import Process
from monai_bone_ssl.training.networks.backbone import GreyViT
from monai_bone_ssl.training.ssl.mae import MaskedAutoencoder
from monai_bone_ssl.training.ssl.masking import block_masks
from monai_bone_ssl.training.ssl.recipe import Recipe
from monai_bone_ssl.training.ssl.schedules import cosine, warmup_constant
from monai_bone_ssl.training.ssl.self_distillation import GLOBAL_VIEWS, SelfDistillation
from monai_bone_ssl.training.ssl.views import MultiCrop, View, dino_views

__all__ = ["Framework", "Progress", "make_framework"]

# Share of the run until the teacher's temperature is at its last value.
_TEMPERATURE_WARMUP = 0.3
# DINO's side of local views in pixels.
_LOCAL_SIDE = 96
# MAE's crops (arXiv:2111.06377, appendix A.1), rarely blurred: a blur is not what should be painted.
_AUTOENCODER_SCALE, _AUTOENCODER_BLUR = (0.2, 1.0), 0.1


class Progress(NamedTuple):
    """Position of a step in its run."""

    epoch: int
    """Number of epochs done."""
    step: int
    """Number of optimizer steps done."""
    steps: int
    """Number of optimizer steps of the whole run."""


class Framework:
    """A network and its loss, as the training loop uses them."""

    module: nn.Module
    """Network that is trained and checkpointed; called, it gives a
    :class:`~monai_bone_ssl.training.ssl.method.MethodOutput`."""
    exported: GreyViT
    """Backbone that is worth keeping."""
    views: MultiCrop
    """Views that a step takes of each image, no more and no fewer."""

    def arguments(
        self, views: Sequence[Tensor], progress: Progress, random: torch.Generator, process: Process
    ) -> tuple[object, ...]:
        """Arguments of ``module`` in a step.

        Parameters
        ----------
        views
            Views [B, 1, side, side] that :attr:`views` made, on the process's device.
        progress
            Steps and epochs done.
        random
            Source of random numbers on the CPU, in the same state on all processes.
        process
            This process, which has B images of ``process.count * B``.
        """
        raise NotImplementedError

    def before_update(self, progress: Progress) -> None:
        """Act between the backward pass and the optimizer's step."""

    def after_update(self, progress: Progress) -> None:
        """Act after the optimizer's step."""


class Distillation(Framework):
    """DINO, with iBOT and KoLeo where the recipe asks for them; the teacher's backbone is kept."""

    def __init__(self, backbone: GreyViT, recipe: Recipe) -> None:
        self.recipe = recipe
        self.module: SelfDistillation = SelfDistillation(
            backbone,
            prototypes=recipe.prototypes,
            trainable_blocks=recipe.trainable_blocks,
            ibot_weight=recipe.ibot_weight,
            koleo_weight=recipe.koleo_weight,
        )
        self.exported = self.module.teacher.backbone
        patch = backbone.patch_size
        local_size = recipe.local_size or max(1, round(_LOCAL_SIDE / patch)) * patch
        self.views = MultiCrop(patch, dino_views(recipe.size, local_size, recipe.local_views))

    def arguments(
        self, views: Sequence[Tensor], progress: Progress, random: torch.Generator, process: Process
    ) -> tuple[object, ...]:
        """Views, iBOT's masks, the teacher's temperature."""
        masks = None
        if self.recipe.ibot_weight > 0:
            side = self.recipe.size // self.exported.patch_size
            images = len(views[0])
            of_views = [block_masks(process.count * images, side, side, random) for _ in range(GLOBAL_VIEWS)]
            masks = torch.cat([mask[process.rows(images)] for mask in of_views]).to(
                process.device
            )  # [2 * B, N]
        first, last = self.recipe.teacher_temperature
        warmup_steps = round(_TEMPERATURE_WARMUP * progress.steps)
        return views, masks, warmup_constant(progress.step, first, last, warmup_steps)

    def before_update(self, progress: Progress) -> None:
        """Hold the prototypes in the first epoch."""
        if progress.epoch == 0:
            self.module.hold_prototypes()

    def after_update(self, progress: Progress) -> None:
        """Move the teacher."""
        first, last = self.recipe.teacher_momentum
        self.module.update_teacher(cosine(progress.step, first, last, progress.steps))


class Autoencoding(Framework):
    """MAE. It cannot collapse, as all images alike would make poor pixels."""

    def __init__(self, backbone: GreyViT, recipe: Recipe) -> None:
        self.module: MaskedAutoencoder = MaskedAutoencoder(backbone)
        self.exported = backbone
        self.patches = (recipe.size // backbone.patch_size) ** 2
        view = View(recipe.size, _AUTOENCODER_SCALE, _AUTOENCODER_BLUR)
        self.views = MultiCrop(backbone.patch_size, [view])

    def arguments(
        self, views: Sequence[Tensor], _progress: Progress, random: torch.Generator, process: Process
    ) -> tuple[object, ...]:
        """The image's only view, and numbers that choose which of its patches are seen."""
        (view,) = views
        noise = torch.rand(process.count * len(view), self.patches, generator=random)
        return view, noise[process.rows(len(view))].to(process.device)


def make_framework(backbone: GreyViT, recipe: Recipe) -> Framework:
    """The recipe's framework around a backbone."""
    return Autoencoding(backbone, recipe) if recipe.method == "mae" else Distillation(backbone, recipe)
