"""A timm Vision Transformer from a safetensors file, made ready for grey radiographs and int8 storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = ["fold_normalisation", "load_backbone", "round_to_storage"]


def load_backbone(weights: Path) -> VisionTransformer:
    """Read a backbone whose file is named after its timm architecture.

    Parameters
    ----------
    weights
        safetensors state dict, any float type, named ``<timm name>[.anything].safetensors``.

    Returns
    -------
    The frozen network in evaluation mode; its input is one grey channel in [0, 1], see
    :func:`fold_normalisation`.

    Raises
    ------
    ConfigError
        If the file is missing, is not safetensors, or does not fit the architecture of its name.
    """
    name = weights.name.split(".")[0]
    config = timm.get_pretrained_cfg(name, allow_unregistered=False) if timm.is_model(name) else None
    if config is None:
        text = f"{weights.name}: expected a name that begins with a timm model's, as vit_small_patch14_dinov2"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    backbone = timm.create_model(name, num_classes=0)
    if not isinstance(backbone, VisionTransformer) or backbone.num_prefix_tokens != 1:
        text = f"{weights.name}: {name} is not a Vision Transformer with one class token"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    try:
        backbone.load_state_dict({key: value.float() for key, value in load_file(weights).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        text = f"{weights.name}: not weights of {name} ({reason})"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
    fold_normalisation(backbone, config.mean, config.std)
    return backbone.eval().requires_grad_(False)


@torch.no_grad()
def fold_normalisation(backbone: VisionTransformer, mean: Sequence[float], std: Sequence[float]) -> None:
    """Turn an RGB patch embedding with its mean and standard deviation into one for a grey image in [0, 1].

    Exact: a grey image has three equal channels, the embedding is linear, and no patch is padded. It saves
    two thirds of the embedding's work and leaves no normalisation to get wrong.
    """
    projection = backbone.patch_embed.proj
    shift, scale = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    scaled = projection.weight / scale  # [D, 3, p, p]
    grey = nn.Conv2d(1, projection.out_channels, projection.kernel_size, projection.stride)
    grey.weight = nn.Parameter(scaled.sum(dim=1, keepdim=True))
    grey.bias = nn.Parameter(projection.bias - (scaled * shift).sum(dim=(1, 2, 3)))
    backbone.patch_embed.proj = grey


@torch.no_grad()
def round_to_storage(backbone: VisionTransformer) -> None:
    """Round to what the model file stores: linear layers to 255 levels a row, positions to float16.

    Done before features are taken, so that the probe is fitted on exactly the network that ships.
    """
    if backbone.pos_embed is not None:
        backbone.pos_embed.copy_(backbone.pos_embed.half().float())
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            module.weight.copy_(_rounded(module.weight))


def _rounded(weight: Tensor) -> Tensor:
    scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127  # one scale a row [out, 1]
    return (weight / scale).round() * scale
