"""The network that ships: frozen Vision Transformer, pooled tokens, linear heads, exact evidence."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from monai_bone_ssl.training.networks.backbone import GreyViT

__all__ = ["PooledTokens", "ProbedViT", "TokenPooling", "Whitening"]


class PooledTokens(NamedTuple):
    """Pooled features of B images, and the tokens that they were computed from."""

    features: Tensor
    """Features [B, 2 * L * C]: means of the patch tokens of L blocks, then their maxima, both averaged over
    the image and its mirror image."""
    tokens: Tensor
    """Patch tokens [2 * B, L * C, h, w] of the L blocks, each after the final layer normalisation: first
    those of the images, then those of their mirror images."""


class TokenPooling(nn.Module):
    """Mean and maximum of the patch tokens of a Vision Transformer's last blocks, in two views.

    The mean carries what the whole image is, the maximum what stands in one place, as a fracture line does.
    An image and its mirror image are averaged, so that a left and a right limb get the same answer.

    Parameters
    ----------
    backbone
        Vision Transformer with at least ``blocks`` blocks.
    blocks
        Number of last blocks that are pooled (L).
    """

    def __init__(self, backbone: GreyViT, blocks: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.blocks = blocks

    @property
    def width(self) -> int:
        """Number of features."""
        return 2 * self.blocks * self.backbone.width

    def last_mean(self, features: Tensor) -> Tensor:
        """Mean token of the last block [B, C] out of features [B, D]: what the image is as a whole."""
        channels = self.backbone.width
        return features[:, (self.blocks - 1) * channels : self.blocks * channels]

    def forward(self, image: Tensor) -> PooledTokens:
        """Pool the tokens of images [B, 1, H, W] in [0, 1], sides multiples of the patch size."""
        tokens = self._tokens(torch.cat((image, image.flip(3))))
        each_view = torch.cat((tokens.mean(dim=(2, 3)), tokens.amax(dim=(2, 3))), dim=1)  # [2 * B, D]
        return PooledTokens(each_view.reshape(2, -1, self.width).mean(dim=0), tokens)

    def attribute(self, tokens: Tensor, weight: Tensor) -> Tensor:
        """Contribution [B, h, w] of each patch to the product of features and weights; they sum to it.

        The weight of a mean is shared by all patches alike; that of a maximum goes to the patch that attains
        it, in equal parts where several do. Contributions of the mirror image are mirrored back.

        Parameters
        ----------
        tokens
            Patch tokens of :class:`PooledTokens`, [2 * B, L * C, h, w].
        weight
            Weights [D] of the features.
        """
        mean_weight, max_weight = weight.view(1, -1, 1, 1).chunk(2, dim=1)
        attained = (tokens == tokens.amax(dim=(2, 3), keepdim=True)).to(tokens.dtype)
        share = attained / attained.sum(dim=(2, 3), keepdim=True)
        patches = tokens.shape[2] * tokens.shape[3]
        each_view = (tokens * (mean_weight / patches + max_weight * share)).sum(dim=1)
        views = each_view.reshape(2, -1, tokens.shape[2], tokens.shape[3])
        return (views[0] + views[1].flip(2)) / 2

    def _tokens(self, image: Tensor) -> Tensor:
        side = self.backbone.patch_size
        height, width = image.shape[2] // side, image.shape[3] // side
        outputs = [tokens[:, 1:] for tokens in self.backbone.last_blocks(image, self.blocks)]
        tokens = torch.cat(outputs, dim=2).transpose(1, 2)  # [B, L * C, h * w]
        return tokens.reshape(tokens.shape[0], tokens.shape[1], height, width)


class Whitening(nn.Module):
    """Distance to the training images, fitted by :class:`~monai_bone_ssl.training.probes.novelty.Novelty`.

    Parameters
    ----------
    width
        Number of features (C).
    components
        Number of principal components (K).
    """

    def __init__(self, width: int, components: int) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(width))
        self.directions = nn.Buffer(torch.zeros(width, components))

    def forward(self, features: Tensor) -> Tensor:
        """Distance [B] of features [B, C]."""
        projected: Tensor = (features - self.mean) @ self.directions
        return projected.square().mean(dim=1).sqrt()


class ProbedViT(nn.Module):
    """Images to the fields of a :class:`monai_bone_ssl.model.inference.Prediction`, in their order.

    Parameters
    ----------
    pooling
        Frozen network that gives features.
    body_parts
        Number of body parts (P).
    components
        Principal components of the out-of-distribution distance (K).
    """

    def __init__(self, pooling: TokenPooling, body_parts: int, components: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.probe = nn.Linear(pooling.width, 1)
        self.body_part = nn.Linear(pooling.width, body_parts)
        self.distance = Whitening(pooling.backbone.width, components)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Outputs for images [B, 1, H, W] in [0, 1].

        Returns
        -------
        logits [B], features [B, D], evidence [B, h, w], offset [B], logits of body parts [B, P] and
        distance [B].
        """
        pooled = self.pooling(image)
        features = pooled.features
        logits = self.probe(features)[:, 0]
        evidence = self.pooling.attribute(pooled.tokens, self.probe.weight[0])
        offset = self.probe.bias.expand_as(logits)
        distance = self.distance(self.pooling.last_mean(features))
        return logits, features, evidence, offset, self.body_part(features), distance
