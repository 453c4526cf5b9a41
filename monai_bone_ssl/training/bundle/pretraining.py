"""Pre-training in the terms of a MONAI workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import torch
from monai.utils.misc import ensure_tuple

from monai_bone_ssl.training.compute.distributed import Process
from monai_bone_ssl.training.ssl import pretrain
from monai_bone_ssl.training.ssl.pretrainer import Pretrainer
from monai_bone_ssl.training.ssl.recipe import Recipe

__all__ = ["make_trainer"]


def make_trainer(
    dataset_dir: str | Sequence[str],
    output_dir: str,
    cache_dir: str,
    backbone: str | None,
    architecture: str,
    recipe: Recipe,
    max_epochs: int,
    process: Process,
    device: torch.device,
    minutes: float | None = None,
) -> Pretrainer:
    """The engine of a run, see :func:`monai_bone_ssl.training.ssl.pretrain.make_pretrainer`.

    Parameters
    ----------
    dataset_dir
        Folder or list of images, or several of them.
    output_dir
        Folder of the run.
    cache_dir
        Folder for decoded images.
    backbone
        File of weights to begin with; None for random weights.
    architecture
        Name of a timm architecture, for random weights.
    recipe
        Settings of the run; the number of epochs in it is replaced.
    max_epochs
        Number of epochs; a parameter of its own, because MONAI's tools look for it at the engine.
    process
        This process among those that work together.
    device
        Device that this process computes on.
    minutes
        Time limit: the run ends with the last epoch that is expected to end in time. None for no limit.

    Raises
    ------
    ConfigError, ReportError
        See :func:`monai_bone_ssl.training.ssl.pretrain.pretrain`.
    """
    return pretrain.make_pretrainer(
        [Path(source) for source in ensure_tuple(dataset_dir)],
        Path(output_dir),
        architecture if backbone is None else Path(backbone),
        msgspec.structs.replace(recipe, epochs=max_epochs),
        replace(process, device=device),
        cache=Path(cache_dir),
        minutes=minutes,
    )
