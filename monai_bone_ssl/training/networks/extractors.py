"""Frozen networks as feature extractors: one interface for Vision Transformers and CNNs."""

from __future__ import annotations

import hashlib
from typing import Literal, Protocol

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

#: How many of the last blocks the product pools; chosen by cross-validation on FracAtlas, see MODEL_CARD.md.
PRODUCT_BLOCKS = 4

# DINOv2's linear evaluation tries the class tokens of the last block and of the last four.
_CLASS_TOKEN_BLOCKS = 4

# Nearly every CNN halves the image five times.
_CNN_STRIDE = 32

# Names the backbone of the model that comes with the package.
_SHIPPED = "shipped"

FeatureKind = Literal["auto", "tokens", "class", "pooled"]


class FeatureExtractor(Protocol):
    """A frozen network in evaluation mode that turns grey images into feature vectors."""

    @property
    def width(self) -> int:
        """Number of features (D)."""

    @property
    def stride(self) -> int:
        """Image sides are to be multiples of this many pixels."""

    @property
    def recipe(self) -> str:
        """Digest of everything but the image that the features depend on: architecture, weights, pooling."""

    def to(self, device: torch.device) -> object:
        """Move the network."""

    def __call__(self, image: Tensor) -> Tensor:
        """Features [B, D] of images [B, 1, H, W] in [0, 1]."""


class TokenFeatures(nn.Module):
    """The product's features: mean and maximum of patch tokens in two views.

    Parameters
    ----------
    pooling
        See :class:`~monai_bone_ssl.training.networks.network.TokenPooling`.
    """

    def __init__(self, pooling: TokenPooling) -> None:
        super().__init__()
        self.pooling = pooling

    @property
    def width(self) -> int:
        """Number of features, 2 * blocks * C."""
        return self.pooling.width

    @property
    def stride(self) -> int:
        """The patch size."""
        return self.pooling.backbone.patch_size

    @property
    def recipe(self) -> str:
        """See :class:`FeatureExtractor`."""
        what = (
            f"mean and maximum of the patch tokens of the last {self.pooling.blocks} blocks, mirror averaged"
        )
        return _digest(what, self.pooling.backbone.vit)

    def forward(self, image: Tensor) -> Tensor:
        """Features [B, 2 * blocks * C] of images [B, 1, H, W] in [0, 1]."""
        features: Tensor = self.pooling(image).features
        return features


class ClassTokens(nn.Module):
    """Class tokens of the last blocks, and the mean patch token of the last one.

    What DINOv2's linear evaluation classifies (Oquab et al. 2023, arXiv:2304.07193, and its code).

    Parameters
    ----------
    backbone
        Vision Transformer.
    blocks
        How many of the last blocks give their class token (L), each after the final norm.
    """

    def __init__(self, backbone: GreyViT, blocks: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.blocks = blocks

    @property
    def width(self) -> int:
        """Number of features, (L + 1) * C."""
        return (self.blocks + 1) * self.backbone.width

    @property
    def stride(self) -> int:
        """The patch size."""
        return self.backbone.patch_size

    @property
    def recipe(self) -> str:
        """See :class:`FeatureExtractor`."""
        what = f"class tokens of the last {self.blocks} blocks, mean of the last patch tokens"
        return _digest(what, self.backbone.vit)

    def forward(self, image: Tensor) -> Tensor:
        """Features [B, (L + 1) * C] of images [B, 1, H, W] in [0, 1], the earliest block's first."""
        outputs = self.backbone.last_blocks(image, self.blocks)
        return torch.cat([*(tokens[:, 0] for tokens in outputs), outputs[-1][:, 1:].mean(dim=1)], dim=1)


class CNNFeatures(nn.Module):
    """Globally pooled features of a CNN, before its classifier.

    Parameters
    ----------
    cnn
        See :func:`~monai_bone_ssl.training.networks.cnn.load_cnn`.
    """

    def __init__(self, cnn: GreyCNN) -> None:
        super().__init__()
        self.cnn = cnn

    @property
    def width(self) -> int:
        """Number of features."""
        return self.cnn.width

    @property
    def stride(self) -> int:
        """32 pixels: what keeps the feature maps of nearly every CNN whole."""
        return _CNN_STRIDE

    @property
    def recipe(self) -> str:
        """See :class:`FeatureExtractor`."""
        what = (
            f"globally pooled, mean {self.cnn.mean.flatten().tolist()}, std {self.cnn.std.flatten().tolist()}"
        )
        return _digest(what, self.cnn.model)

    def forward(self, image: Tensor) -> Tensor:
        """Features [B, D] of images [B, 1, H, W] in [0, 1]."""
        features: Tensor = self.cnn(image)
        return features


class MirrorAveraged(nn.Module):
    """Features averaged over an image and its mirror image, as the product's are.

    Parameters
    ----------
    extractor
        One view's: :class:`ClassTokens`, :class:`CNNFeatures`.
    """

    def __init__(self, extractor: ClassTokens | CNNFeatures) -> None:
        super().__init__()
        self.extractor = extractor

    @property
    def width(self) -> int:
        """Number of features."""
        return self.extractor.width

    @property
    def stride(self) -> int:
        """As of one view."""
        return self.extractor.stride

    @property
    def recipe(self) -> str:
        """See :class:`FeatureExtractor`."""
        return hashlib.sha256(f"mirror averaged {self.extractor.recipe}".encode()).hexdigest()

    def forward(self, image: Tensor) -> Tensor:
        """Features [B, D] of images [B, 1, H, W] in [0, 1]."""
        one, mirrored = self.extractor(torch.cat((image, image.flip(3)))).chunk(2)
        features: Tensor = (one + mirrored) / 2
        return features


def load_extractor(weights: str, features: FeatureKind = "auto") -> FeatureExtractor:
    """Turn what a user names into a feature extractor, frozen and in evaluation mode.

    Parameters
    ----------
    weights
        A safetensors file named after its timm architecture, ``timm:NAME`` for timm's own source, or
        ``shipped`` for the backbone of the model that comes with the package.
    features
        - ``auto``: ``tokens`` for a Vision Transformer, ``pooled`` for a CNN.
        - ``tokens``: the product's, :class:`TokenFeatures` of the last :data:`PRODUCT_BLOCKS` blocks, with
          the weights rounded to what a model file stores; so they are what ``bone-ssl fit`` uses.
        - ``class``: :class:`ClassTokens`, as DINOv2's linear evaluation has them: one view.
        - ``pooled``: :class:`CNNFeatures`. They too are averaged over image and mirror image
          (:class:`MirrorAveraged`): a comparison with ``tokens`` is then one of networks, not of views.

    Raises
    ------
    ConfigError
        If there are no such weights, or the network does not have such features.
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
    """The features that the product classifies; the backbone is rounded to what a model file stores."""
    round_to_storage(backbone)
    return TokenFeatures(TokenPooling(backbone.requires_grad_(False), PRODUCT_BLOCKS)).eval()


def load_vit(weights: str) -> GreyViT:
    """The Vision Transformer that a user names, as :func:`load_extractor` understands it.

    Raises
    ------
    ConfigError
        If there are no such weights.
    """
    if weights == _SHIPPED:
        return load_network(default_model_folder()).pooling.backbone.requires_grad_(True)
    return load_backbone(weights)


def is_vit(weights: str) -> bool:
    """Whether what a user names is a Vision Transformer; else it is taken for a CNN.

    Raises
    ------
    ConfigError
        If there is no such network.
    """
    if weights == _SHIPPED:
        return True
    with torch.device("meta"):  # the architecture alone, without memory or time for weights
        return isinstance(timm.create_model(parse_source(weights).name), VisionTransformer)


def _digest(what: str, model: nn.Module) -> str:
    # The same weights mean something else with another number of heads or another activation.
    config = getattr(model, "pretrained_cfg", None)
    architecture = config["architecture"] if config else type(model).__name__
    digest = hashlib.sha256(msgspec.json.encode([what, architecture]))
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} ".encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()
