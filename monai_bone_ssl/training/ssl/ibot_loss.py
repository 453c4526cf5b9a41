"""iBOT's loss on masked patches (arXiv:2111.07832), weighted as in DINOv2 (arXiv:2304.07193).

``IBOTPatchLoss(out_dim, student_temp=0.1, centre_momentum=0.9)``; one step::

    loss = ibot(student, teacher, mask, teacher_temp)  # student, teacher [M, K], mask bool [B, N]
    ibot.update_centre(teacher)                        # after the loss; every process calls it

``student`` and ``teacher`` are head outputs of the M masked patches only: ``head(patches[mask])``, where the
student saw the mask token in their place and the teacher the whole view.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_bone_ssl.training.ssl.centre import Centre

__all__ = ["IBOTPatchLoss"]


class IBOTPatchLoss(nn.Module):
    """Cross-entropy between the teacher's view of a patch and what the student makes of its surroundings.

    Parameters
    ----------
    out_dim
        Number of prototypes (K).
    student_temp
        Temperature of the student's softmax.
    centre_momentum
        Share of the old centre that an update keeps.
    """

    def __init__(self, out_dim: int, student_temp: float = 0.1, centre_momentum: float = 0.9) -> None:
        super().__init__()
        self.student_temp = student_temp
        self.centre = Centre(out_dim, centre_momentum)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor, teacher_temp: float) -> Tensor:
        """Mean over a view's masked patches, then over the views; a view without masked patches counts as 0.

        Parameters
        ----------
        student, teacher
            Head outputs [M, K] of the masked patches, in the order of ``patches[mask]``; the teacher's get no
            gradient.
        mask
            bool [B, N], M of them true.
        teacher_temp
            Temperature of the teacher's softmax.
        """
        target = self.centre.probabilities(teacher, teacher_temp)
        log_prediction = torch.log_softmax(student.float() / self.student_temp, dim=-1)
        loss = -(target * log_prediction).sum(dim=-1)  # [M]
        masked = mask.sum(dim=1)  # [B]
        # Not by indexing with the mask: a GPU would have to be waited for.
        share = (1 / masked.clamp_min(1)).repeat_interleave(masked, output_size=loss.shape[0])  # [M]
        return (loss * share).sum() / mask.shape[0]

    def update_centre(self, teacher: Tensor) -> None:
        """Move the centre towards the mean of head outputs [M, K] over all processes."""
        self.centre.update(teacher)
