"""How a user names pre-trained weights: a file that is named after its timm architecture, or timm's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import timm
from torch import nn

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = ["WeightsSource", "download", "normalisation", "parse_source"]

_TIMM = "timm:"


class WeightsSource(NamedTuple):
    """Source of weights, and the network that they belong to."""

    name: str
    """Architecture as timm names it, without a tag (``resnet50``)."""
    tagged: str
    """Architecture with timm's tag of the pre-training (``resnet50.a1_in1k``), where a tag was named."""
    file: Path | None
    """Safetensors file; None for timm's own weights, which are downloaded."""


def parse_source(weights: str | Path) -> WeightsSource:
    """Understand ``timm:NAME``, or a safetensors file ``<timm name>[.anything].safetensors``.

    Raises
    ------
    ConfigError
        If timm has no such model, or no weights with such a tag.
    """
    text = str(weights)
    if not text.startswith(_TIMM):
        return _of_file(Path(weights))
    tagged = text.removeprefix(_TIMM)
    name = tagged.split(".")[0]
    if not timm.is_model(name):
        problem = f"{text}: expected timm:NAME with the name of a timm model, as timm:resnet50"
        raise ConfigError(ReasonCode.INVALID_CONFIG, problem)
    known = timm.list_pretrained(f"{name}.*")
    if tagged != name and tagged not in known:
        problem = f"{text}: timm has no such weights, expected one of {', '.join(known) or 'none'}"
        raise ConfigError(ReasonCode.INVALID_CONFIG, problem)
    return WeightsSource(name, tagged, None)


def _of_file(file: Path) -> WeightsSource:
    name = file.name.split(".")[0]
    if not timm.is_model(name):
        text = f"{file.name}: expected a name that begins with a timm model's, as vit_small_patch14_dinov2"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    tagged = ".".join(file.name.split(".")[:2])
    return WeightsSource(name, tagged if tagged in timm.list_pretrained(f"{name}.*") else name, file)


def normalisation(source: WeightsSource) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation [3] of the colours that timm states for weights.

    Raises
    ------
    ConfigError
        If timm states none.
    """
    config = timm.get_pretrained_cfg(source.tagged)
    if config is None:
        text = f"{source.name}: timm does not state the mean and standard deviation that it expects"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    return config.mean, config.std


def download(source: WeightsSource) -> nn.Module:
    """Create a timm model for three colours with timm's own weights, without its classifier.

    Raises
    ------
    ConfigError
        If there are no such weights, or they cannot be downloaded.
    """
    try:
        model: nn.Module = timm.create_model(source.tagged, pretrained=True, num_classes=0)
    except OSError as error:
        text = (
            f"{_TIMM}{source.tagged}: the weights could not be downloaded; with no network, "
            f"give a file instead: {source.name}.safetensors"
        )
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(ReasonCode.INVALID_CONFIG, f"{_TIMM}{source.tagged}: {reason}") from error
    return model
