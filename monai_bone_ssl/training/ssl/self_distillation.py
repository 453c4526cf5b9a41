"""DINO with the options of DINOv2: a student learns what its own moving average says of other views."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.networks.backbone import GreyViT
from monai_bone_ssl.training.ssl.losses import DINOLoss, IBOTPatchLoss, koleo_loss
from monai_bone_ssl.training.ssl.method import MethodOutput

__all__ = ["GLOBAL_VIEWS", "DINOHead", "SelfDistillation"]

#: Number of views that the teacher sees; the student sees these and the local ones.
GLOBAL_VIEWS = 2


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


class Branch(nn.Module):
    """A backbone with its heads; student and teacher are one each.

    For iBOT's objective patches have a head of their own: DINOv2 found two heads better than a shared one
    (arXiv:2304.07193, section 4).
    """

    def __init__(self, backbone: GreyViT, prototypes: int, *, with_patch_head: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = DINOHead(backbone.width, prototypes)
        self.patch_head = DINOHead(backbone.width, prototypes) if with_patch_head else nn.Identity()


class SelfDistillation(nn.Module):
    """Student, teacher and their losses; one call gives one step's loss.

    The teacher is the student's exponential moving average and gets no gradient. Drop path, where the
    backbone has it, is the student's only.

    With ``trainable_blocks`` the patch embedding, the positions and all earlier blocks stay as they are.
    Their output for a view is then the same for student and teacher, and is computed once, without gradients.

    Parameters
    ----------
    backbone
        Network to begin from; becomes the student's, the teacher's is a copy.
    prototypes
        Number of outputs of a head (K).
    trainable_blocks
        Number of the last blocks that are trained, with the final norm; None for the whole network.
    ibot_weight, koleo_weight
        Weights of iBOT's masked patches (arXiv:2111.07832) and of KoLeo (arXiv:1806.03198) beside DINO's
        loss; 0 leaves an objective out. DINOv2 takes 1 and 0.1.

    Raises
    ------
    ConfigError
        If the backbone has fewer blocks than are to be trained.
    """

    def __init__(
        self,
        backbone: GreyViT,
        *,
        prototypes: int,
        trainable_blocks: int | None = None,
        ibot_weight: float = 0.0,
        koleo_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.frozen_blocks = _frozen_blocks(backbone, trainable_blocks)
        self.ibot_weight = ibot_weight
        self.koleo_weight = koleo_weight
        self.student = Branch(backbone, prototypes, with_patch_head=ibot_weight > 0)
        if self.frozen_blocks is not None:
            _freeze(backbone, self.frozen_blocks)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.dino_loss = DINOLoss(prototypes)
        if ibot_weight > 0:
            self.patch_loss = IBOTPatchLoss(prototypes)
            # Behind a frozen stem no gradient would reach the token: it stays zero.
            trained = self.frozen_blocks is None
            self.mask_token = nn.Parameter(torch.zeros(backbone.width), requires_grad=trained)
        self.train()

    def train(self, mode: bool = True) -> SelfDistillation:
        """Set the student's mode; the teacher always evaluates."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self, views: Sequence[Tensor], masks: Tensor | None, teacher_temperature: float
    ) -> MethodOutput:
        """Loss of one step; moves the centres.

        Parameters
        ----------
        views
            Two global views [B, 1, H, W] each, then any number of local views [B, 1, h, w] each.
        masks
            bool [2 * B, N]: patches of the global views that the student does not see; None without iBOT.
        teacher_temperature
            Temperature of the teacher's softmax.
        """
        images = len(views[0])
        global_views = torch.cat(tuple(views[:GLOBAL_VIEWS]))  # [2 * B, 1, H, W]
        with torch.no_grad():
            stem = self._stem(self.teacher.backbone, global_views)
            teacher_tokens = self._tokens(self.teacher.backbone, stem)  # [2 * B, 1 + N, C]
            teacher = self.teacher.head(teacher_tokens[:, 0]).unflatten(0, (-1, images))  # [2, B, K]
        reusable = self.frozen_blocks is not None and masks is None
        student_input = stem if reusable else self._student_stem(global_views, masks)
        student_tokens = self._tokens(self.student.backbone, student_input)  # [2 * B, 1 + N, C]
        student = self._student_outputs(student_tokens, views[GLOBAL_VIEWS:])  # [2 + L, B, K]

        loss = self.dino_loss(student, teacher, teacher_temperature)
        parts = {"dino": loss.detach()}
        if masks is not None:
            ibot = self._patch_loss(student_tokens, teacher_tokens, masks, teacher_temperature)
            parts["ibot"] = ibot.detach()
            loss = loss + self.ibot_weight * ibot
        if self.koleo_weight > 0:
            each_view = student_tokens[:, 0].chunk(GLOBAL_VIEWS)
            koleo = torch.stack([koleo_loss(tokens) for tokens in each_view]).mean()
            parts["koleo"] = koleo.detach()
            loss = loss + self.koleo_weight * koleo

        targets = self.dino_loss.centre.probabilities(teacher[0], teacher_temperature)
        self.dino_loss.centre.update(teacher)
        return MethodOutput(loss, parts, teacher_tokens[:images, 0], targets)

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Move the teacher's trained weights towards the student's, keeping a share of ``momentum``."""
        for student, teacher in zip(self.student.parameters(), self.teacher.parameters(), strict=True):
            if student.requires_grad:
                teacher.lerp_(student, 1 - momentum)

    def hold_prototypes(self) -> None:
        """Drop the gradients of the heads' last layers: DINO holds these still in the first epoch."""
        for head in self.student.children():
            if isinstance(head, DINOHead):
                head.prototypes.grad = None

    def _student_outputs(self, tokens: Tensor, local_views: Sequence[Tensor]) -> Tensor:
        """Head outputs [2 + L, B, K] of all views, from the global ones' tokens [2 * B, 1 + N, C]."""
        classes = [tokens[:, 0]]
        if local_views:
            stem = self._student_stem(torch.cat(tuple(local_views)), None)  # of [L * B, 1, h, w]
            classes.append(self._tokens(self.student.backbone, stem)[:, 0])
        outputs: Tensor = self.student.head(torch.cat(classes)).unflatten(
            0, (-1, len(tokens) // GLOBAL_VIEWS)
        )
        return outputs

    def _patch_loss(self, student: Tensor, teacher: Tensor, masks: Tensor, temperature: float) -> Tensor:
        predicted = self.student.patch_head(student[:, 1:][masks])  # [M, K]
        with torch.no_grad():
            target = self.teacher.patch_head(teacher[:, 1:][masks])
        loss: Tensor = self.patch_loss(predicted, target, masks, temperature)
        self.patch_loss.centre.update(target)
        return loss

    def _student_stem(self, images: Tensor, masks: Tensor | None) -> Tensor:
        if self.frozen_blocks is None:
            return self._stem(self.student.backbone, images, masks)
        with torch.no_grad():  # the same weights in both, and the teacher's without drop path
            return self._stem(self.teacher.backbone, images, masks)

    def _stem(self, backbone: GreyViT, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Input [B, 1 + N, C] of the first trained block, from images [B, 1, H, W] and masks [B, N]."""
        embedded = backbone.embed_patches(images)  # [B, C, h, w]
        height, width = embedded.shape[-2:]
        patches = embedded.flatten(2).transpose(1, 2)  # [B, N, C]
        if masks is not None:
            patches = torch.where(masks[..., None], self.mask_token.to(patches.dtype), patches)
        x = backbone.add_position(patches, height, width)
        return backbone.run_blocks(x, 0, self.frozen_blocks or 0)

    def _tokens(self, backbone: GreyViT, x: Tensor) -> Tensor:
        """Final tokens [B, 1 + N, C]."""
        tokens: Tensor = backbone.vit.norm(backbone.run_blocks(x, self.frozen_blocks or 0, backbone.depth))
        return tokens


def _frozen_blocks(backbone: GreyViT, trainable: int | None) -> int | None:
    if trainable is None:
        return None
    if not 1 <= trainable <= backbone.depth:
        text = (
            f"trainable blocks: {trainable}, expected 1 to {backbone.depth}, the network's number of blocks"
        )
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    return backbone.depth - trainable


def _freeze(backbone: GreyViT, blocks: int) -> None:
    backbone.requires_grad_(False)
    for trained in (*backbone.vit.blocks[blocks:], backbone.vit.norm):
        trained.requires_grad_(True)
