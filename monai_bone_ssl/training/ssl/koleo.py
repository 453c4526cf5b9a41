"""KoLeo regulariser (Sablayrolles et al. 2019, arXiv:1806.03198) as in DINOv2 (arXiv:2304.07193).

``koleo_loss(tokens)``: [B, C] to a scalar. It spreads the class tokens of a batch over the sphere.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, pairwise_distance

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = ["koleo_loss"]

_EPS = 1e-8


def koleo_loss(tokens: Tensor) -> Tensor:
    """Minus the mean logarithm of each token's distance to its nearest neighbour.

    The neighbours are those of this process, so the loss (not its gradient's meaning) depends on how a batch
    is spread over processes. One view of each image at a time: two views of one image should be neighbours.

    Parameters
    ----------
    tokens
        The student's class tokens [B, C], B at least 2, before any head.

    Raises
    ------
    ConfigError
        For a batch of one: it has no neighbours.
    """
    if tokens.shape[0] < 2:
        raise ConfigError(
            ReasonCode.INVALID_CONFIG, "KoLeo: a batch of 1 image, expected at least 2 a process"
        )
    with torch.autocast(tokens.device.type, enabled=False):
        directions = normalize(tokens.float(), dim=1, eps=_EPS)
        nearest = directions[_nearest_neighbours(directions)]
        return -(pairwise_distance(directions, nearest, eps=_EPS) + _EPS).log().mean()


@torch.no_grad()
def _nearest_neighbours(directions: Tensor) -> Tensor:
    similarity = directions @ directions.T
    similarity.fill_diagonal_(-torch.inf)
    return similarity.argmax(dim=1)
