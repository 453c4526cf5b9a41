"""The teacher's and the student's distributions over the prototypes, which both losses compare.

The teacher's is centred, which keeps one prototype from taking all images (arXiv:2104.14294, section 3.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_bone_ssl.training.compute.distributed import sum_over_processes

__all__ = ["Centre", "entropy", "student_log_probabilities"]

# Both DINO's.
_MOMENTUM = 0.9
_STUDENT_TEMPERATURE = 0.1


class Centre(nn.Module):
    """Moving average of the teacher's outputs, over all processes.

    Parameters
    ----------
    out_dim
        Number of prototypes (K).
    momentum
        Share of the old centre that an update keeps.
    """

    def __init__(self, out_dim: int, momentum: float = _MOMENTUM) -> None:
        super().__init__()
        self.momentum = momentum
        self.value = nn.Buffer(torch.zeros(out_dim))

    @torch.no_grad()
    def probabilities(self, teacher: Tensor, temperature: float) -> Tensor:
        """The teacher's distribution [..., K] over the prototypes, from its outputs [..., K]; no gradient."""
        return torch.softmax((teacher.float() - self.value) / temperature, dim=-1)

    @torch.no_grad()
    def update(self, teacher: Tensor) -> None:
        """Move towards the mean of outputs [..., K]; processes may hold different numbers of them, or none.

        Every process must call it, as it sums over them.
        """
        outputs = teacher.float().reshape(-1, teacher.shape[-1])
        total = torch.cat((outputs.sum(dim=0), outputs.new_full((1,), outputs.shape[0])))  # [K + 1]
        total = sum_over_processes(total)
        mean = total[:-1] / total[-1].clamp_min(1)
        weight = (1 - self.momentum) * total[-1].clamp_max(1)  # no outputs anywhere: the centre stays
        self.value.lerp_(mean, weight)


def student_log_probabilities(student: Tensor) -> Tensor:
    """Logarithm of the student's distribution [..., K], from its outputs [..., K]."""
    return torch.log_softmax(student.float() / _STUDENT_TEMPERATURE, dim=-1)


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy [...] of distributions [..., K] in nats: 0 for one certain prototype, log K for all alike.

    Collapse shows in two ways: the mean entropy of the teacher's distributions goes to log K (all images get
    the same, flat answer), or the entropy of their mean goes to 0 (all images get one prototype).
    """
    each: Tensor = torch.special.entr(probabilities)
    return each.sum(dim=-1)
