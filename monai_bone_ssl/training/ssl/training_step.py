"""One step of pre-training: views, loss, gradients, update."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(eq=False)
class TrainingStep:
    """The engine's ``iteration_update``.

    On CUDA the forward pass runs in bfloat16 under autocast; on a CPU all is float32 and eager, so that a run
    can be repeated bit for bit.
    The framework's module has to be on the process's device; an epoch has ``steps`` steps.
    """

    framework: Framework
    optimizer: torch.optim.Optimizer
    guard: CollapseGuard
    recipe: Recipe
    steps: int
    process: Process

    def __post_init__(self) -> None:
        self.module = _distributed(self.framework.module, self.process)
        self.trained = _trained(self.framework.module)

    def __call__(self, _engine: object, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch and its terms, scalars by name, after the step."""
        step = batch.epoch * self.steps + batch.step
        progress = Progress(batch.epoch, step, self.steps * self.recipe.epochs)
        self._set_schedules(progress)
        random = torch.Generator().manual_seed(self._seed(_VIEWS, step))
        views = self.framework.views(batch, random, self.process)
        arguments = self.framework.arguments(views, progress, random, self.process)
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
    trained = _trained(module)
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "decays": True},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "decays": False},
    ]
    return torch.optim.AdamW(groups, lr=0.0, fused=device.type == "cuda")


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


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
