"""Projection head of DINO and iBOT: tokens to cosines with prototypes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

__all__ = ["DINOHead"]


class DINOHead(nn.Module):
    """Three-layer perceptron, L2 normalisation, weight-normalised linear layer (DINO, arXiv:2104.14294).

    The weight normalisation has a fixed gain of 1, so an output is the cosine of the bottleneck and a
    prototype, in [-1, 1]. ``prototypes`` is the last layer's only parameter.

    Parameters
    ----------
    in_dim
        Width of a token.
    out_dim
        Number of prototypes (K).
    hidden_dim
        Width of the two hidden layers.
    bottleneck_dim
        Width before the last layer.
    """

    def __init__(self, in_dim: int, out_dim: int, hidden_dim: int = 2048, bottleneck_dim: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(in_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, bottleneck_dim),
        )
        self.prototypes = nn.Parameter(torch.empty(out_dim, bottleneck_dim))
        nn.init.trunc_normal_(self.prototypes, std=0.02)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Cosines [..., K] of tokens [..., in_dim], float32 under any autocast."""
        bottleneck = self.mlp(x)
        # The losses divide the cosines by temperatures down to 0.04, where bfloat16's rounding (1/256) would
        # be a tenth of a logit.
        with torch.autocast(x.device.type, enabled=False):
            return linear(normalize(bottleneck.float(), dim=-1), normalize(self.prototypes, dim=-1))
