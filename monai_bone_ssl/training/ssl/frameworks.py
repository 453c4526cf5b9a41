"""The frameworks of self-supervised learning as the training loop sees them, all alike."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from monai_bone_ssl.training.compute.distributed import Process
from monai_bone_ssl.training.networks.backbone import GreyViT
from monai_bone_ssl.training.ssl.batches import Batch
from monai_bone_ssl.training.ssl.mae import MaskedAutoencoder
from monai_bone_ssl.training.ssl.masking import block_masks
from monai_bone_ssl.training.ssl.recipe import Recipe
from monai_bone_ssl.training.ssl.schedules import cosine, warmup_constant
from monai_bone_ssl.training.ssl.self_distillation import GLOBAL_VIEWS, SelfDistillation
from monai_bone_ssl.training.ssl.views import MultiCrop

__all__ = ["Autoencoding", "Distillation", "Framework", "make_framework"]

# Of the epochs, until the teacher's temperature is at its last value.
_TEMPERATURE_WARMUP = 0.3
# DINO's side of local views.
_LOCAL_SIDE = 96
# MAE's crops (arXiv:2111.06377, appendix A.1).
_AUTOENCODER_SCALE = (0.2, 1.0)


class Framework(Protocol):
    """What the training loop needs."""

    @property
    def module(self) -> nn.Module:
        """What is trained and checkpointed; called, it gives a
        :class:`~monai_bone_ssl.training.ssl.method.MethodOutput`."""

    @property
    def exported(self) -> GreyViT:
        """The backbone that is worth keeping."""

    def arguments(self, batch: Batch, random: torch.Generator, process: Process) -> tuple[object, ...]:
        """What ``module`` is called with in a step; ``random`` is in the same state on all processes."""

    def before_update(self, epoch: int) -> None:
        """Between the backward pass and the optimizer's step."""

    def after_update(self, step: int) -> None:
        """After the optimizer's step."""


class Distillation:
    """DINO, with iBOT and KoLeo where the recipe asks for them.

    Parameters
    ----------
    backbone
        What to begin from.
    recipe
        Its weights, views and schedules.
    steps
        Steps in an epoch.
    """

    def __init__(self, backbone: GreyViT, recipe: Recipe, steps: int) -> None:
        self.recipe = recipe
        self.steps = steps
        self.module: SelfDistillation = SelfDistillation(
            backbone,
            prototypes=recipe.prototypes,
            trainable_blocks=recipe.trainable_blocks,
            ibot_weight=recipe.ibot_weight,
            koleo_weight=recipe.koleo_weight,
        )
        patch = backbone.patch_size
        self.views = MultiCrop(
            patch,
            global_size=recipe.size,
            local_size=recipe.local_size or max(1, round(_LOCAL_SIDE / patch)) * patch,
            global_views=GLOBAL_VIEWS,
            local_views=recipe.local_views,
        )

    @property
    def _all_steps(self) -> int:
        return self.steps * self.recipe.epochs

    @property
    def exported(self) -> GreyViT:
        """The teacher's backbone."""
        return self.module.exported

    def arguments(self, batch: Batch, random: torch.Generator, process: Process) -> tuple[object, ...]:
        """Views on the device, iBOT's masks, the teacher's temperature."""
        views = _views(self.views, batch, random, process)
        masks = None
        if self.recipe.ibot_weight > 0:
            side = self.recipe.size // self.exported.patch_size
            rows = _rows(batch, process)
            everyone = process.count * len(batch.canvases)
            drawn = [block_masks(everyone, side, side, random)[rows] for _ in range(GLOBAL_VIEWS)]
            masks = torch.cat(drawn).to(process.device)  # [2 * B, N]
        first, last = self.recipe.teacher_temperature
        temperature = warmup_constant(
            batch.epoch * self.steps + batch.step, first, last, round(_TEMPERATURE_WARMUP * self._all_steps)
        )
        return views, masks, temperature

    def before_update(self, epoch: int) -> None:
        """Hold the prototypes in the first epoch."""
        if epoch == 0:
            self.module.hold_prototypes()

    def after_update(self, step: int) -> None:
        """Move the teacher."""
        first, last = self.recipe.teacher_momentum
        self.module.update_teacher(cosine(step, first, last, self._all_steps))


class Autoencoding:
    """MAE. It cannot collapse, as all images alike would make poor pixels.

    Parameters
    ----------
    backbone
        What to begin from.
    recipe
        Its view.
    """

    def __init__(self, backbone: GreyViT, recipe: Recipe) -> None:
        self.module: MaskedAutoencoder = MaskedAutoencoder(backbone)
        self.patches = (recipe.size // backbone.patch_size) ** 2
        # The first of MultiCrop's global views is always blurred, which is not what should be painted.
        self.views = MultiCrop(
            backbone.patch_size,
            global_size=recipe.size,
            local_size=recipe.size,
            global_views=2,
            local_views=0,
            global_scale=_AUTOENCODER_SCALE,
        )

    @property
    def exported(self) -> GreyViT:
        """The encoder."""
        return self.module.backbone

    def arguments(self, batch: Batch, random: torch.Generator, process: Process) -> tuple[object, ...]:
        """A view on the device, and which of its patches are seen."""
        view = _views(self.views, batch, random, process)[1]
        noise = torch.rand(process.count * len(batch.canvases), self.patches, generator=random)
        return view, noise[_rows(batch, process)].to(process.device)

    def before_update(self, epoch: int) -> None:
        """Nothing is held."""

    def after_update(self, step: int) -> None:
        """Nobody follows."""


def make_framework(backbone: GreyViT, recipe: Recipe, steps: int) -> Framework:
    """The recipe's framework around a backbone, for epochs of ``steps`` steps."""
    if recipe.method == "mae":
        return Autoencoding(backbone, recipe)
    return Distillation(backbone, recipe, steps)


def _rows(batch: Batch, process: Process) -> slice:
    """This process's share of what is drawn for the global batch."""
    images = len(batch.canvases)
    return slice(process.rank * images, (process.rank + 1) * images)


def _views(views: MultiCrop, batch: Batch, random: torch.Generator, process: Process) -> list[Tensor]:
    canvases = batch.canvases.to(process.device, non_blocking=True)
    alone = batch.partner_canvases is batch.canvases
    partners = canvases if alone else batch.partner_canvases.to(process.device, non_blocking=True)
    crops: list[Tensor] = views(
        canvases, batch.sizes, partners, batch.partner_sizes, random, process.rank, process.count
    )
    return crops
