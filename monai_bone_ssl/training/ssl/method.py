"""Output of a framework of self-supervised learning, for the training loop."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["MethodOutput"]


class MethodOutput(NamedTuple):
    """One step's loss and what is watched beside it."""

    loss: Tensor
    """Loss to be minimised, a scalar with gradient."""
    parts: dict[str, Tensor]
    """Terms of the loss before weighting, scalars without gradient."""
    features: Tensor | None = None
    """The teacher's class tokens [B, C] of one view of each image; None without a teacher."""
    targets: Tensor | None = None
    """The teacher's probabilities [B, K] for that view; None without a teacher."""
