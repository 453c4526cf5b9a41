"""The network as MONAI's tools expect one: one tensor in, one tensor out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from monai_bone_ssl.training.networks.network import ProbedViT
from monai_bone_ssl.training.networks.torch_model import load_network

__all__ = ["MapNetwork", "Scores", "load_map_network", "split_map"]


class MapNetwork(nn.Module):
    """Patch scores, contributions and answers for a radiograph as channels of one map.

    Deployment operators, TorchScript and MONAI's checks take networks with one output. A score is one value
    for an image, and is repeated over the patch grid.

    Parameters
    ----------
    network
        Network with separate outputs.
    """

    def __init__(self, network: ProbedViT) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Map [B, 4 + P, h, w] of images [B, 1, H, W] in [0, 1], sides multiples of the patch size.

        Channels: the score of each patch; its contribution, which with one constant sum to the logit; the
        logit; the distance to the training images; the logits of P body parts.
        """
        logits, _, patch_scores, contribution, _, body_part, distance = self.network(image)
        scores = torch.cat((logits[:, None], distance[:, None], body_part), dim=1)[:, :, None, None]
        grid = torch.stack((patch_scores, contribution), dim=1)
        return torch.cat((grid, scores.expand(-1, -1, grid.shape[2], grid.shape[3])), dim=1)


class Scores(NamedTuple):
    """The outputs for one image, taken from the map of a :class:`MapNetwork`."""

    patch_scores: Tensor
    """Score of each patch [h, w], in logit before calibration."""
    contribution: Tensor
    """Contribution of each patch to the logit [h, w]."""
    logit: float
    """Logit of the finding."""
    distance: float
    """Distance to the training images."""
    body_part_logits: Tensor
    """Logits of the body parts [P]."""


def split_map(pred: Tensor) -> Scores:
    """Take one image's map [4 + P, h, w] apart."""
    scores = pred[2:, 0, 0]
    return Scores(pred[0], pred[1], float(scores[0]), float(scores[1]), scores[2:])


def load_map_network(folder: str) -> MapNetwork:
    """Read the network of a model folder.

    Raises
    ------
    ModelError
        If the folder is not a model folder, or cannot be trusted; see
        :func:`~monai_bone_ssl.training.networks.torch_model.load_network`.
    """
    return MapNetwork(load_network(Path(folder))).eval()
