"""The product's preprocessing for any input size: one stretch of the contrast for all that training does."""

from __future__ import annotations

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.model.preprocessing import PreprocessSpec

__all__ = ["input_spec"]

# Chosen by cross-validation on FracAtlas; the comparisons are in MODEL_CARD.md.
_PERCENTILES = (1.0, 99.0)


def input_spec(long_side: int, stride: int) -> PreprocessSpec:
    """The product's preprocessing for an input size.

    Parameters
    ----------
    long_side
        Longer side of the network's input in pixels.
    stride
        Stride of the network in pixels, see
        :class:`~monai_bone_ssl.training.networks.extractors.FeatureExtractor`; 1 for pictures.

    Raises
    ------
    ConfigError
        If ``long_side`` is not a multiple of ``stride``.
    """
    if long_side < stride or long_side % stride:
        text = f"long side {long_side}: expected a multiple of {stride}"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    return PreprocessSpec(long_side, stride, *_PERCENTILES)
