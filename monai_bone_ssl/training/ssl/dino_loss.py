"""DINO's loss on class tokens (arXiv:2104.14294): the student predicts the teacher's view of other crops.

``DINOLoss(out_dim)``; one step::

    loss = dino(student, teacher, teacher_temp)        # student [S, B, K], teacher [T, B, K]
    dino.centre.update(teacher)                        # after the loss; every process calls it

The student's first T views are the teacher's, in its order. The centre is in ``state_dict()``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_bone_ssl.training.ssl.centre import Centre, student_log_probabilities

__all__ = ["DINOLoss"]


class DINOLoss(nn.Module):
    """Cross-entropy between the teacher's global views and the student's other views.

    Parameters
    ----------
    out_dim
        Number of prototypes (K).
    """

    def __init__(self, out_dim: int) -> None:
        super().__init__()
        self.centre = Centre(out_dim)

    def forward(self, student: Tensor, teacher: Tensor, teacher_temp: float) -> Tensor:
        """Mean loss over the batch and over all pairs of a teacher's view and another view of the student.

        Parameters
        ----------
        student
            Head outputs [S, B, K] of all views, the T global ones first.
        teacher
            Head outputs [T, B, K] of the global views, same order; gets no gradient.
        teacher_temp
            Temperature of the teacher's softmax.
        """
        targets = self.centre.probabilities(teacher, teacher_temp)  # [T, B, K]
        log_predictions = student_log_probabilities(student)  # [S, B, K]
        losses = [
            -(target * log_prediction).sum(dim=-1).mean()
            for t, target in enumerate(targets)
            for s, log_prediction in enumerate(log_predictions)
            if s != t
        ]
        return torch.stack(losses).mean()
