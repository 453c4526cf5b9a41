"""One step of pre-training: views, loss, gradients, update."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from monai_bone_ssl.training.compute.distributed import Process
from monai_bone_ssl.training.ssl.batches import Batch
from monai_bone_ssl.training.ssl.collapse import CollapseGuard
from monai_bone_ssl.training.ssl.frameworks import Framework, Progress
from monai_bone_ssl.training.ssl.recipe import Recipe
from monai_bone_ssl.training.ssl.schedules import cosine, warmup_cosine

__all__ = ["TrainingStep", "compile_blocks", "make_optimizer", "seeded"]

_CLIP_NORM = 3.0
_LAST_LEARNING_RATE = 1e-6  # at the end of the cosine
# Purposes of a step's random numbers; the order of batches has its own streams.
_VIEWS, _DROP_PATH = 10, 11


class TrainingStep:
    """The engine's ``iteration_update``.

    On CUDA the forward pass runs in bfloat16 under autocast; on a CPU all is float32 and eager, so that a run
    can be repeated bit for bit.

    Parameters
    ----------
    framework
        Framework to train, its module on the process's device.
    optimizer
        Optimizer from :func:`make_optimizer`.
    guard
        Guard that gets every step's outputs.
    recipe
        Recipe of the run.
    steps
        Number of steps in an epoch.
    process
        This process.
    """

    def __init__(
        self,
        framework: Framework,
        optimizer: torch.optim.Optimizer,
        guard: CollapseGuard,
        recipe: Recipe,
        steps: int,
        process: Process,
    ) -> None:
        self.framework = framework
        self.optimizer = optimizer
        self.guard = guard
        self.recipe = recipe
        self.steps = steps
        self.process = process
        self.module = _distributed(framework.module, process)
        self.trained = [parameter for parameter in framework.module.parameters() if parameter.requires_grad]

    def __call__(self, _engine: object, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch and its terms, scalars by name, after the step."""
        step = batch.epoch * self.steps + batch.step
        progress = Progress(batch.epoch, step, self.steps * self.recipe.epochs)
        self._set_schedules(progress)
        random = torch.Generator().manual_seed(self._seed(_VIEWS, step))
        arguments = self.framework.arguments(self._views(batch, random), progress, random, self.process)
        device = self.process.device
        # timm's drop path draws from torch's global stream: lent for the step, then given back.
        with (
            seeded(self._seed(_DROP_PATH, step, self.process.rank), device),
            torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"),
        ):
            output = self.module(*arguments)
        self.optimizer.zero_grad(set_to_none=True)
        output.loss.backward()
        nn.utils.clip_grad_norm_(self.trained, _CLIP_NORM)
        self.framework.before_update(progress)
        self.optimizer.step()
        self.framework.after_update(progress)
        if output.features is not None:
            self.guard.update(output.features, output.targets)
        return {"loss": output.loss.detach(), **output.parts}

    def _views(self, batch: Batch, random: torch.Generator) -> list[Tensor]:
        """The framework's views of a batch, on the device."""
        device = self.process.device
        canvases = batch.canvases.to(device, non_blocking=True)
        alone = batch.partner_canvases is batch.canvases
        partners = canvases if alone else batch.partner_canvases.to(device, non_blocking=True)
        rank, count = self.process.rank, self.process.count
        views: list[Tensor] = self.framework.views(
            canvases, batch.sizes, partners, batch.partner_sizes, random, rank, count
        )
        return views

    def _set_schedules(self, progress: Progress) -> None:
        recipe, (_, step, steps) = self.recipe, progress
        warmup = min(self.steps * recipe.warmup_epochs, steps)
        rate = warmup_cosine(step, recipe.peak_learning_rate, _LAST_LEARNING_RATE, warmup, steps)
        decay = cosine(step, *recipe.weight_decay, steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
            group["weight_decay"] = decay if group["decays"] else 0.0

    def _seed(self, *purpose: int) -> int:
        return int(np.random.SeedSequence([self.recipe.seed, *purpose]).generate_state(1)[0])


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global random streams begin at a seed inside the block and go on as before after it."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def make_optimizer(module: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    """AdamW over what is trained; no weight decay for biases and norms. The schedules set its rates."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "decays": True},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "decays": False},
    ]
    return torch.optim.AdamW(groups, lr=0.0, fused=device.type == "cuda")


def compile_blocks(module: nn.Module) -> None:
    """Compile the attention and the perceptron of a Transformer's blocks in place.

    Both take nearly all the time and are alike in all blocks, so a few versions serve: one for each size of
    views, with and without gradients. Whole blocks are not alike, as each has its own rate of drop path.
    """
    for part in module.modules():
        if isinstance(part, Block):
            part.attn.compile(dynamic=False)
            part.mlp.compile(dynamic=False)


def _distributed(module: nn.Module, process: Process) -> nn.Module:
    if process.count == 1:
        return module
    devices = [process.device] if process.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=devices)
