"""Any timm CNN for grey radiographs of any size, with weights from a file or from timm's own source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.networks.weights import download, normalisation, parse_source

__all__ = ["GreyCNN", "load_cnn"]


class GreyCNN(nn.Module):
    """A timm CNN for one grey channel in [0, 1], without its classifier.

    Parameters
    ----------
    model
        timm network for three colours, without a classifier (``num_classes=0``).
    mean, std
        Mean and standard deviation [3] of the colours that the network expects its input to be normalised by.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        #: Number of globally pooled features (F).
        self.width = cast(int, model.head_hidden_size)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Globally pooled features [B, F] of images [B, 1, H, W] in [0, 1].

        The image is normalised here, and not by changed weights of the first convolution as in a Vision
        Transformer: a convolution pads with zeros, which are mean grey after normalisation but black before.
        """
        features: Tensor = self.model((image - self.mean) / self.std)  # [B, 1] - [1, 3] -> [B, 3, H, W]
        return features


def load_cnn(weights: str) -> GreyCNN:
    """Read a CNN.

    Parameters
    ----------
    weights
        State dict of a timm model, any float type, with or without its classifier, in a file
        ``<timm name>[.tag].safetensors``; or ``timm:NAME`` for timm's own weights.

    Returns
    -------
    Network in evaluation mode, with the mean and standard deviation that timm states for these weights.

    Raises
    ------
    ConfigError
        If the file is missing or does not fit its name, or timm's weights cannot be downloaded.
    """
    source = parse_source(weights)
    model = download(source) if source.file is None else _read(source.file, source.name)
    return GreyCNN(model, *normalisation(source)).eval()


def _read(file: Path, name: str) -> nn.Module:
    model: nn.Module = timm.create_model(name, num_classes=0)
    try:
        state = {key: value.float() for key, value in load_file(file).items()}
        model.load_state_dict(_without_classifier(state, name))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        text = f"{file.name}: not weights of {name} ({reason})"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
    return model


def _without_classifier(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    config = timm.get_pretrained_cfg(name)
    classifier = config.classifier if config is not None else None
    if classifier is None:
        return state
    prefixes = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    return {
        key: value for key, value in state.items() if not key.startswith(tuple(f"{p}." for p in prefixes))
    }
