"""Losses of self-distillation: DINO's on class tokens, iBOT's on masked patches, KoLeo's spread.

One step of either of the first two::

    loss = dino_loss(student, teacher, teacher_temperature)
    dino_loss.centre.update(teacher)  # after the loss; every process calls it

The centres are in ``state_dict()``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pairwise_distance

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.compute.distributed import sum_over_processes

__all__ = ["Centre", "DINOLoss", "IBOTPatchLoss", "entropy", "koleo_loss"]

# DINO's share of the old centre that an update keeps, and temperature of the student's softmax.
_CENTRE_MOMENTUM = 0.9
_STUDENT_TEMPERATURE = 0.1
_EPS = 1e-8


class Centre(nn.Module):
    """Moving average [K] of the teacher's outputs for K prototypes, over all processes.

    The teacher's distributions are centred, which keeps one prototype from taking all images (DINO,
    arXiv:2104.14294, section 3.1).
    """

    def __init__(self, prototypes: int) -> None:
        super().__init__()
        self.value = nn.Buffer(torch.zeros(prototypes))

    @torch.no_grad()
    def probabilities(self, teacher: Tensor, temperature: float) -> Tensor:
        """The teacher's distribution [..., K] over the prototypes, from its outputs [..., K]; no gradient."""
        return torch.softmax((teacher.float() - self.value) / temperature, dim=-1)

    @torch.no_grad()
    def update(self, teacher: Tensor) -> None:
        """Move towards the mean of outputs [..., K]; processes may hold different numbers of them, or none.

        The outputs of all processes are summed, so every process must call this.
        """
        outputs = teacher.float().reshape(-1, teacher.shape[-1])
        total = torch.cat((outputs.sum(dim=0), outputs.new_full((1,), outputs.shape[0])))  # [K + 1]
        total = sum_over_processes(total)
        mean = total[:-1] / total[-1].clamp_min(1)
        weight = (1 - _CENTRE_MOMENTUM) * total[-1].clamp_max(1)  # no outputs anywhere: the centre stays
        self.value.lerp_(mean, weight)


class _CentredLoss(nn.Module):
    """A loss against the teacher's centred distributions over K prototypes."""

    def __init__(self, prototypes: int) -> None:
        super().__init__()
        self.centre = Centre(prototypes)


class DINOLoss(_CentredLoss):
    """Cross-entropy between the teacher's global views and the student's other views (arXiv:2104.14294)."""

    def forward(self, student: Tensor, teacher: Tensor, teacher_temperature: float) -> Tensor:
        """Mean loss over the batch and over all pairs of a teacher's view and another view of the student.

        Parameters
        ----------
        student
            Head outputs [S, B, K] of all views, the T global ones first.
        teacher
            Head outputs [T, B, K] of the global views, same order; gets no gradient.
        teacher_temperature
            Temperature of the teacher's softmax.
        """
        targets = self.centre.probabilities(teacher, teacher_temperature)  # [T, B, K]
        log_predictions = _student_log_probabilities(student)  # [S, B, K]
        losses = [
            -(target * log_prediction).sum(dim=-1).mean()
            for t, target in enumerate(targets)
            for s, log_prediction in enumerate(log_predictions)
            if s != t
        ]
        return torch.stack(losses).mean()


class IBOTPatchLoss(_CentredLoss):
    """Cross-entropy between the teacher's view of a patch and what the student makes of its surroundings.

    iBOT's loss (arXiv:2111.07832), weighted as in DINOv2 (arXiv:2304.07193).
    """

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor, teacher_temperature: float) -> Tensor:
        """Mean over a view's masked patches, then over the views; a view without masked patches counts as 0.

        Parameters
        ----------
        student
            Head outputs [M, K] of the masked patches, in the order of ``patches[mask]``; the student saw the
            mask token in their place.
        teacher
            Head outputs [M, K] of the same patches; the teacher saw the whole view. Gets no gradient.
        mask
            bool [B, N], M of them true.
        teacher_temperature
            Temperature of the teacher's softmax.
        """
        target = self.centre.probabilities(teacher, teacher_temperature)
        loss = -(target * _student_log_probabilities(student)).sum(dim=-1)  # [M]
        patches = mask.sum(dim=1)  # [B]
        # Indexing with the mask would wait for the GPU.
        share = (1 / patches.clamp_min(1)).repeat_interleave(patches, output_size=loss.shape[0])  # [M]
        return (loss * share).sum() / mask.shape[0]


def _student_log_probabilities(student: Tensor) -> Tensor:
    """Logarithm of the student's distribution [..., K], from its outputs [..., K]."""
    return torch.log_softmax(student.float() / _STUDENT_TEMPERATURE, dim=-1)


def koleo_loss(tokens: Tensor) -> Tensor:
    """Minus the mean logarithm of each token's distance to its nearest neighbour: low where tokens spread.

    The KoLeo regulariser (Sablayrolles et al. 2019, arXiv:1806.03198) as in DINOv2 (arXiv:2304.07193). The
    neighbours are those of this process, so the loss (not its gradient's meaning) depends on how a batch is
    spread over processes. To be called for one view of each image at a time: two views of one image should
    be neighbours.

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
        text = "KoLeo: a batch of 1 image, expected at least 2 a process"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    with torch.autocast(tokens.device.type, enabled=False):
        directions = normalize(tokens.float(), dim=1, eps=_EPS)
        # Indexing would add up gradients in any order of the threads.
        nearest = directions.index_select(0, _nearest_neighbours(directions))
        return -(pairwise_distance(directions, nearest, eps=_EPS) + _EPS).log().mean()


@torch.no_grad()
def _nearest_neighbours(directions: Tensor) -> Tensor:
    similarity = directions @ directions.T
    similarity.fill_diagonal_(-torch.inf)
    return similarity.argmax(dim=1)


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy [...] of distributions [..., K] in nats: 0 for one certain prototype, log K for all alike.

    Collapse shows in two ways: the mean entropy of the teacher's distributions goes to log K (all images get
    the same, flat answer), or the entropy of their mean goes to 0 (all images get one prototype).
    """
    each: Tensor = torch.special.entr(probabilities)
    return each.sum(dim=-1)
