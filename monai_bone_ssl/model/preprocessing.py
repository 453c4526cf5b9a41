"""From a radiograph's pixels to the network's input: the one function that training and every front call."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from monai_bone_ssl.errors import ReasonCode, UnsupportedImage

__all__ = ["PreprocessSpec", "preprocess"]


class PreprocessSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Recipe from image to network input; part of model.json, so that a model never meets another recipe."""

    long_side: int
    """Length of the longer side in pixels after resampling; a multiple of ``patch_size``."""
    patch_size: int
    """Side of a patch of the Vision Transformer in pixels."""
    low_percentile: float
    """Grey level of this percentile becomes 0."""
    high_percentile: float
    """Grey level of this percentile becomes 1."""

    def __post_init__(self) -> None:
        if not (0 < self.patch_size <= self.long_side and self.long_side % self.patch_size == 0):
            raise ValueError(
                f"long_side is {self.long_side}, expected a multiple of patch_size {self.patch_size}"
            )
        low, high = self.low_percentile, self.high_percentile
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles are {low} and {high}, expected 0 <= low < high <= 100")

    def size(self, rows: int, columns: int) -> tuple[int, int]:
        """Input height and width, in pixels, of a source with so many pixels: whole patches, no padding."""
        scale = self.long_side / max(rows, columns) / self.patch_size
        height, width = (max(1, round(side * scale)) * self.patch_size for side in (rows, columns))
        return height, width


def preprocess(pixels: npt.NDArray[np.float32], spec: PreprocessSpec) -> npt.NDArray[np.float32]:
    """Resample to whole patches with the aspect kept, and stretch the contrast between two percentiles.

    Parameters
    ----------
    pixels
        Radiograph [H, W] in [0, 1], bright = dense.
    spec
        Recipe of the model.

    Returns
    -------
    Network input [H', W'] in [0, 1]; both sides are multiples of ``spec.patch_size``, the longer one is
    ``spec.long_side``. The aspect changes by at most half a patch.

    Raises
    ------
    UnsupportedImage
        ``BLANK_IMAGE`` where the two percentiles fall on one grey level.
    """
    height, width = spec.size(*pixels.shape)
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    image = np.asarray(resized, dtype=np.float32)
    low, high = np.percentile(image, (spec.low_percentile, spec.high_percentile))
    if high - low < 1 / 255:
        raise UnsupportedImage(
            ReasonCode.BLANK_IMAGE, "the image is blank: its grey levels span less than 1/255 of the range"
        )
    stretched = (image - np.float32(low)) / np.float32(high - low)
    return stretched.clip(0.0, 1.0)
