"""iBOT's loss on masked patches (arXiv:2111.07832), weighted as in DINOv2 (arXiv:2304.07193).

``IBOTPatchLoss(out_dim)``; one step::

    loss = ibot(student, teacher, mask, teacher_temp)  # student, teacher [M, K], mask bool [B, N]
    ibot.centre.update(teacher)                        # after the loss; every process calls it

``student`` and ``teacher`` are head outputs of the M masked patches only: ``head(patches[mask])``, where the
student saw the mask token in their place and the teacher the whole view.
"""

from __future__ import annotations

from torch import Tensor, nn

from monai_bone_ssl.training.ssl.centre import Centre, student_log_probabilities

__all__ = ["IBOTPatchLoss"]


class IBOTPatchLoss(nn.Module):
    """Cross-entropy between the teacher's view of a patch and what the student makes of its surroundings.

    Parameters
    ----------
    out_dim
        Number of prototypes (K).
    """

    def __init__(self, out_dim: int) -> None:
        super().__init__()
        self.centre = Centre(out_dim)

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
        loss = -(target * student_log_probabilities(student)).sum(dim=-1)  # [M]
        masked = mask.sum(dim=1)  # [B]
        # Not by indexing with the mask: a GPU would have to be waited for.
        share = (1 / masked.clamp_min(1)).repeat_interleave(masked, output_size=loss.shape[0])  # [M]
        return (loss * share).sum() / mask.shape[0]
