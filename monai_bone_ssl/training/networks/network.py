"""The network that ships: frozen Vision Transformer, pooled tokens, patch scores, linear heads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from monai_bone_ssl.training.networks.backbone import GreyViT

__all__ = [
    "NOT_PRESENT",
    "PatchProbe",
    "PooledTokens",
    "ProbedViT",
    "TokenPooling",
    "Whitening",
    "average_views",
]

#: Score of a patch that shows nothing, in logit: black from edge to edge, as what lies outside the exposed
#: field is. Its probability is 0 in float32.
NOT_PRESENT = -100.0


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
    def token_width(self) -> int:
        """Number of channels of a patch (L * C)."""
        return self.blocks * self.backbone.width

    @property
    def width(self) -> int:
        """Number of features."""
        return 2 * self.token_width

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
        it, in equal parts where several do.

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
        return average_views((tokens * (mean_weight / patches + max_weight * share)).sum(dim=1))

    def _tokens(self, image: Tensor) -> Tensor:
        side = self.backbone.patch_size
        height, width = image.shape[2] // side, image.shape[3] // side
        outputs = [tokens[:, 1:] for tokens in self.backbone.last_blocks(image, self.blocks)]
        tokens = torch.cat(outputs, dim=2).transpose(1, 2)  # [B, L * C, h * w]
        return tokens.reshape(tokens.shape[0], tokens.shape[1], height, width)


def average_views(values: Tensor) -> Tensor:
    """Average [B, ..., w] of values [2 * B, ..., w]: first those of B images, then of their mirror images."""
    views = torch.unflatten(values, 0, [2, -1])  # chunk cannot be exported for any batch size
    return (views[0] + views[1].flip(-1)) / 2


class PatchProbe(nn.Module):
    """Scores of patches, each a function of that patch's tokens alone, and the mean of the highest.

    A patch's token is the average of what the image and its mirror image have at its place. One hidden layer
    finds fractures better than none, see MODEL_CARD.md.

    The mean of the highest scores makes the probe's answer for an image: a multiple-instance pooling whose
    parts are the patches themselves, so that nothing has to be explained afterwards (additive
    multiple-instance learning, Javed et al., NeurIPS 2022, arXiv:2206.01794).

    Parameters
    ----------
    width
        Number of channels of a patch (T).
    hidden
        Width of the hidden layer (U).
    highest
        Number of highest scores that are averaged (K).
    """

    def __init__(self, width: int, hidden: int, highest: int) -> None:
        super().__init__()
        self.highest = highest
        self.not_present = NOT_PRESENT  # torch.jit.script knows no global values
        self.hidden = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Scores [B, h, w] in logit; :data:`NOT_PRESENT` where a patch is empty.

        Parameters
        ----------
        tokens
            Patch tokens of :class:`PooledTokens`, [2 * B, T, h, w].
        present
            Whether a patch shows anything [B, h, w].
        """
        averaged = average_views(tokens).movedim(1, 3)
        scores = self.score(nn.functional.gelu(self.hidden(averaged)))[..., 0]
        return torch.where(present, scores, self.not_present)

    def top_mean(self, scores: Tensor) -> Tensor:
        """Mean [B] of the highest scores [B, h, w]; an image has at least as many patches."""
        return scores.flatten(1).topk(self.highest).values.mean(dim=1)

    def attribute(self, scores: Tensor) -> Tensor:
        """Share [B, h, w] of each patch in :meth:`top_mean`; they sum to it."""
        highest = scores.flatten(1).topk(self.highest)
        shares = torch.zeros_like(scores.flatten(1)).scatter(
            1, highest.indices, highest.values / self.highest
        )
        return shares.reshape(scores.shape)


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
    hidden
        Width of the patch probe's hidden layer (U).
    highest
        Number of highest patch scores that are averaged (K).
    body_parts
        Number of body parts (P).
    components
        Principal components of the out-of-distribution distance (M).
    """

    def __init__(
        self, pooling: TokenPooling, hidden: int, highest: int, body_parts: int, components: int
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.patch_probe = PatchProbe(pooling.token_width, hidden, highest)
        self.probe = nn.Linear(pooling.width + 1, 1)
        self.body_part = nn.Linear(pooling.width, body_parts)
        self.distance = Whitening(pooling.backbone.width, components)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Outputs for images [B, 1, H, W] in [0, 1].

        Returns
        -------
        logits [B], features [B, D + 1] of which the last is the mean of the highest patch scores, patch
        scores [B, h, w], contributions [B, h, w], offset [B], logits of body parts [B, P] and distance [B].
        """
        pooled, tokens = self.pooling(image)
        scores = self.patch_probe(tokens, self._present(image))
        features = torch.cat((pooled, self.patch_probe.top_mean(scores)[:, None]), dim=1)
        logits = self.probe(features)[:, 0]
        # Split stays in the exported graph, so that its only copies of the weight are whole: site adaptation
        # exchanges those.
        of_pooled, of_highest = torch.split(self.probe.weight[0], [self.pooling.width, 1])
        contribution = self.pooling.attribute(tokens, of_pooled) + of_highest * self.patch_probe.attribute(
            scores
        )
        offset = self.probe.bias.expand_as(logits)
        distance = self.distance(self.pooling.last_mean(pooled))
        return logits, features, scores, contribution, offset, self.body_part(pooled), distance

    def _present(self, image: Tensor) -> Tensor:
        """Whether a patch [B, h, w] has a pixel that is not black."""
        return nn.functional.max_pool2d(image, self.pooling.backbone.patch_size)[:, 0] > 0
