"""From a radiograph's pixels to the network's input: the one function that training and every front call."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from monai_bone_ssl.dicom.collimation import ExposedField
from monai_bone_ssl.errors import ReasonCode, UnsupportedImage
from monai_bone_ssl.model.exposed_field import find_exposed_field

__all__ = ["PREPROCESSING", "PreprocessSpec", "preprocess"]

#: What :func:`preprocess` does beyond its specification; part of the key of every cache of its results.
PREPROCESSING = "inside the exposed field"


class PreprocessSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Recipe from image to network input; part of model.json, so that a model never meets another recipe."""

    long_side: int
    """Length of the longer side in pixels after resampling; a multiple of ``patch_size``."""
    patch_size: int
    """Side of a patch of the Vision Transformer in pixels."""
    low_percentile: float
    """Grey level of this percentile of the exposed field becomes 0."""
    high_percentile: float
    """Grey level of this percentile of the exposed field becomes 1."""

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


def preprocess(
    pixels: npt.NDArray[np.float32], spec: PreprocessSpec, field: ExposedField | None = None
) -> npt.NDArray[np.float32]:
    """Resample to whole patches with the aspect kept, and stretch the contrast inside the exposed field.

    Parameters
    ----------
    pixels
        Radiograph [H, W] in [0, 1], bright = dense.
    spec
        Recipe of the model.
    field
        Exposed field; None to find it in the pixels.

    Returns
    -------
    Network input [H', W'] in [0, 1]; both sides are multiples of ``spec.patch_size``, the longer one is
    ``spec.long_side``. The aspect changes by at most half a patch. Pixels outside the exposed field are 0.

    Raises
    ------
    UnsupportedImage
        ``BLANK_IMAGE`` where the two percentiles fall on one grey level.

    Notes
    -----
    Pixels of the image's lowest value are left out of the percentiles too: padding and black shutters consist
    of it, and their share of an image says nothing about its contrast.
    """
    height, width = spec.size(*pixels.shape)
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    image = np.asarray(resized, dtype=np.float32)
    inside = (find_exposed_field(pixels) if field is None else field).mask(height, width)
    lowest = Image.fromarray(pixels == pixels.min()).resize((width, height), Image.Resampling.NEAREST)
    exposed = image[inside & ~np.asarray(lowest)]
    percentiles = (spec.low_percentile, spec.high_percentile)
    low, high = np.percentile(exposed, percentiles) if exposed.size else (0.0, 0.0)
    if high - low < 1 / 255:
        raise UnsupportedImage(
            ReasonCode.BLANK_IMAGE, "the image is blank: its grey levels span less than 1/255 of the range"
        )
    stretched = (image - np.float32(low)) / np.float32(high - low)
    return stretched.clip(0.0, 1.0) * inside
