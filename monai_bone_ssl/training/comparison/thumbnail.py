"""A radiograph as a small picture to embed, with the evidence for the target in colour."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_bone_ssl.errors import UnsupportedImage
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.show.colours import colour_evidence
from monai_bone_ssl.training.data import read_grey
from monai_bone_ssl.training.data.input_spec import input_spec

__all__ = ["Thumbnail", "make_thumbnail"]

FloatArray = NDArray[np.float32]

# Long side in pixels: about 6 kB a picture.
_PICTURE = input_spec(200, 1)


@dataclass(frozen=True)
class Thumbnail:
    """A small picture to embed."""

    jpeg: bytes
    width: int
    """Columns, in pixels as the height."""
    height: int


def make_thumbnail(path: Path, evidence: FloatArray | None = None, limit: float = 1.0) -> Thumbnail | None:
    """A radiograph at most 200 pixels wide and high, its contrast stretched; None where it is blank.

    Parameters
    ----------
    path
        Image file.
    evidence
        Logit contribution of each patch [h, w], laid over it in colour where it speaks for the target.
    limit
        Evidence at full colour.
    """
    try:
        grey = preprocess(read_grey(path), _PICTURE)
    except UnsupportedImage:
        return None
    if evidence is None:
        picture = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    else:
        size = (grey.shape[1], grey.shape[0])
        spread = Image.fromarray(evidence.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
        coloured = colour_evidence(grey, np.asarray(spread), limit)
        picture = Image.fromarray(np.rint(coloured * 255).astype(np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return Thumbnail(buffer.getvalue(), *picture.size)
