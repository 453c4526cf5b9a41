"""The most confident errors of a row, each as a small picture with the evidence for it in colour."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_bone_ssl.colours import colour_evidence
from monai_bone_ssl.errors import UnsupportedImage
from monai_bone_ssl.preprocessing import PreprocessSpec, preprocess
from monai_bone_ssl.training.comparison.protocol import THRESHOLD
from monai_bone_ssl.training.data import read_grey

__all__ = ["SHOWN", "Thumbnail", "evidence_limit", "make_thumbnail", "worst_errors"]

FloatArray = NDArray[np.float32]

#: False positives, and false negatives, that are shown of each row.
SHOWN = 6

# Long side in pixels: about 6 kB a picture.
_SIDE = 200
_PICTURE = PreprocessSpec(long_side=_SIDE, patch_size=1, low_percentile=1.0, high_percentile=99.0)


@dataclass(frozen=True)
class Thumbnail:
    """A small picture to embed."""

    jpeg: bytes
    width: int
    height: int


def worst_errors(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[list[int], list[int]]:
    """The most confident errors, most confident first.

    Parameters
    ----------
    labels, probabilities
        [n].

    Returns
    -------
    False positives and false negatives, at most :data:`SHOWN` of each, as indices.
    """
    called = probabilities >= THRESHOLD
    order = np.argsort(-np.abs(probabilities - labels), kind="stable")
    alarms = [int(i) for i in order if called[i] and not labels[i]]
    misses = [int(i) for i in order if labels[i] and not called[i]]
    return alarms[:SHOWN], misses[:SHOWN]


def evidence_limit(evidence: Mapping[int, FloatArray]) -> float:
    """Evidence at full colour, one for all pictures of a row: the largest that any of them has."""
    return max([float(values.max()) for values in evidence.values()] + [1e-6])


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
