"""Frozen networks as feature extractors: one interface for Vision Transformers and CNNs."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Literal

import msgspec
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.training.networks.backbone import GreyViT, load_backbone, round_to_storage
from monai_bone_ssl.training.networks.cnn import GreyCNN, load_cnn
from monai_bone_ssl.training.networks.network import TokenPooling
from monai_bone_ssl.training.networks.torch_model import load_network
from monai_bone_ssl.training.networks.weights import parse_source

__all__ = [
    "PRODUCT_BLOCKS",
    "CNNFeatures",
    "ClassTokens",
    "FeatureExtractor",
    "FeatureKind",
    "MirrorAveraged",
    "TokenFeatures",
    "is_vit",
    "load_extractor",
    "load_vit",
    "product_features",
]

#: Number of last blocks that the shipped model pools; chosen by cross-validation, see MODEL_CARD.md.
PRODUCT_BLOCKS = 4

# DINOv2's linear evaluation uses the class tokens of the last block, or of the last four.
_CLASS_TOKEN_BLOCKS = 4

# The name of the backbone in the model that comes with the package.
_SHIPPED = "shipped"

FeatureKind = Literal["auto", "tokens", "class", "pooled"]


class FeatureExtractor(nn.Module, ABC):
    """A frozen network in evaluation mode: features [B, D] of images [B, 1, H, W] in [0, 1]."""

    width: int
    """Number of features (D)."""
    stride: int
    """Pixels that the sides of an image have to be a multiple of."""

    @property
    @abstractmethod
    def recipe(self) -> str:
        """Digest of all that features depend on besides the image: architecture, weights and pooling."""


class TokenFeatures(FeatureExtractor):
    """The features that the shipped model classifies: mean and maximum of patch tokens, in two views.

    Parameters
    ----------
    pooling
        Network and pooling, in evaluation mode.
    """

    def __init__(self, pooling: TokenPooling) -> None:
        super().__init__()
        self.pooling = pooling
        self.width = pooling.width
        self.stride = pooling.backbone.patch_size

    @property
    def recipe(self) -> str:
        """See :class:`FeatureExtractor`."""
        blocks = self.pooling.blocks
        pooling = f"mean and maximum of the patch tokens of the last {blocks} blocks, mirror averaged"
        return _digest(pooling, self.pooling.backbone.vit)

    def forward(self, image: Tensor) -> Tensor:
        """Features [B, 2 * blocks * C] of images [B, 1, H, W] in [0, 1]."""
        features: Tensor = self.pooling(image).features
        return features


class ClassTokens(FeatureExtractor):
    """Class tokens of the last blocks, and the mean patch token of the last one: DINOv2's linear evaluation.

    Source: Oquab et al. 2023, arXiv:2304.07193, and the code published with it.

    Parameters
    ----------
    backbone
        Vision Transformer.
    blocks
        Number of last blocks that give their class token (L), each after the final norm.
    """

    def __init__(self, backbone: GreyViT, blocks: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.blocks = blocks
        self.width = (blocks + 1) * backbone.width
        self.stride = backbone.patch_size

    @property
    def recipe(self) -> str:
        """See :class:`FeatureExtractor`."""
        pooling = f"class tokens of the last {self.blocks} blocks, mean of the last patch tokens"
        return _digest(pooling, self.backbone.vit)

    def forward(self, image: Tensor) -> Tensor:
        """Features [B, (L + 1) * C] of images [B, 1, H, W] in [0, 1], the earliest block's first."""
        outputs = self.backbone.last_blocks(image, self.blocks)
        return torch.cat([*(tokens[:, 0] for tokens in outputs), outputs[-1][:, 1:].mean(dim=1)], dim=1)


class CNNFeatures(FeatureExtractor):
    """Globally pooled features of a CNN.

    Parameters
    ----------
    cnn
        CNN without a classifier.
    """

    stride = 32  # nearly every CNN halves the sides five times; feature maps then have whole sizes

    def __init__(self, cnn: GreyCNN) -> None:
        super().__init__()
        self.cnn = cnn
        self.width = cnn.width

    @property
    def recipe(self) -> str:
        """See :class:`FeatureExtractor`."""
        mean, std = (values.flatten().tolist() for values in (self.cnn.mean, self.cnn.std))
        return _digest(f"globally pooled, mean {mean}, std {std}", self.cnn.model)

    def forward(self, image: Tensor) -> Tensor:
        """Features [B, D] of images [B, 1, H, W] in [0, 1]."""
        features: Tensor = self.cnn(image)
        return features


class MirrorAveraged(FeatureExtractor):
    """Features averaged over an image and its mirror image, as the shipped model averages its own.

    Parameters
    ----------
    extractor
        Features of one view.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self.extractor = extractor
        self.width = extractor.width
        self.stride = extractor.stride

    @property
    def recipe(self) -> str:
        """See :class:`FeatureExtractor`."""
        return hashlib.sha256(f"mirror averaged {self.extractor.recipe}".encode()).hexdigest()

    def forward(self, image: Tensor) -> Tensor:
        """Features [B, D] of images [B, 1, H, W] in [0, 1]."""
        straight, mirrored = self.extractor(torch.cat((image, image.flip(3)))).chunk(2)
        features: Tensor = (straight + mirrored) / 2
        return features


def load_extractor(weights: str, features: FeatureKind = "auto") -> FeatureExtractor:
    """Turn what a user names into a feature extractor, frozen and in evaluation mode.

    Parameters
    ----------
    weights
        Safetensors file that is named after its timm architecture, ``timm:NAME`` for timm's own weights, or
        ``shipped`` for the backbone of the model that comes with the package.
    features
        - ``auto``: ``tokens`` for a Vision Transformer, ``pooled`` for a CNN.
        - ``tokens``: :class:`TokenFeatures` of the last :data:`PRODUCT_BLOCKS` blocks, with weights rounded
          to what a model file stores. They are the features that ``bone-ssl fit`` uses.
        - ``class``: :class:`ClassTokens` of one view, as in DINOv2's linear evaluation.
        - ``pooled``: :class:`CNNFeatures`, averaged over image and mirror image (:class:`MirrorAveraged`), so
          that a comparison with ``tokens`` compares networks and not numbers of views.

    Raises
    ------
    ConfigError
        If there are no such weights, or the network has no such features.
    """
    vit = is_vit(weights)
    kind = ("tokens" if vit else "pooled") if features == "auto" else features
    if vit == (kind == "pooled"):
        expected = "tokens or class" if vit else "pooled"
        text = f"{weights}: this network has no features '{kind}', expected {expected}"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    if kind == "pooled":
        return MirrorAveraged(CNNFeatures(load_cnn(weights).requires_grad_(False)))
    backbone = load_vit(weights).requires_grad_(False)
    if kind == "class":
        return ClassTokens(backbone, _CLASS_TOKEN_BLOCKS)
    return product_features(backbone)


def product_features(backbone: GreyViT) -> TokenFeatures:
    """The features that ``bone-ssl fit`` uses; the backbone is rounded to what a model file stores."""
    round_to_storage(backbone)
    return TokenFeatures(TokenPooling(backbone.requires_grad_(False), PRODUCT_BLOCKS)).eval()


def load_vit(weights: str) -> GreyViT:
    """The Vision Transformer that a user names, see :func:`load_extractor`.

    Raises
    ------
    ConfigError
        If there are no such weights.
    """
    if weights == _SHIPPED:
        return load_network(default_model_folder()).pooling.backbone.requires_grad_(True)
    return load_backbone(weights)


def is_vit(weights: str) -> bool:
    """Whether the network that a user names is a Vision Transformer; any other is taken for a CNN.

    Raises
    ------
    ConfigError
        If timm has no such network.
    """
    if weights == _SHIPPED:
        return True
    with torch.device("meta"):  # the architecture alone, without memory or time for weights
        return isinstance(timm.create_model(parse_source(weights).name), VisionTransformer)


def _digest(pooling: str, model: nn.Module) -> str:
    # The architecture counts too: with other heads or activations the same weights give other features.
    config = getattr(model, "pretrained_cfg", None)
    architecture = config["architecture"] if config else type(model).__name__
    digest = hashlib.sha256(msgspec.json.encode([pooling, architecture]))
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} ".encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()
