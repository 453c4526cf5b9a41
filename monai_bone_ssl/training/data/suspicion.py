"""What makes images suspicious: pictures that occur twice, and pictures with black and white exchanged.

The limits were set on FracAtlas (3,101 radiographs) and the knees of the Osteoarthritis Initiative (6,604),
by looking at what lies on either side of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.training.data.scan import THUMBNAIL_SIDE, ImageScan

__all__ = ["look_inverted", "same_pictures", "similar_pictures"]

# Pearson correlation of two thumbnails. Copies that were halved, recompressed (JPEG quality 30) or brightened
# (gamma 0.7 to 1.5) reach 0.977 to 1, half of them 0.993; cropping 1 % of a side gives 0.97 to 0.99. The most
# alike radiographs of two patients reach 0.983 (knees) and 0.980 (FracAtlas).
_SIMILAR = 0.985
_ROWS_A_BLOCK = 1024

_BORDER = 3  # pixels of a thumbnail
_BORDER_MEDIAN = 0.35
_BORDER_QUARTILE = 0.15

Bytes = NDArray[np.uint8]


def same_pictures(scans: Sequence[ImageScan]) -> list[tuple[int, ...]]:
    """Indices of images whose pixels are equal, each group of two or more in order."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, scan in enumerate(scans):
        if scan.pixel_digest is not None:
            found[scan.pixel_digest].append(index)
    return [tuple(indices) for indices in found.values() if len(indices) > 1]


def similar_pictures(scans: Sequence[ImageScan]) -> Iterator[tuple[int, int, float]]:
    """Pairs of images that show the same picture in other pixels, with their correlation.

    Every pair is compared, in blocks of matrix products: 40,000 images take half a minute on one core. A
    hash of 64 bits would be quicker, but does not tell radiographs apart: within 3 bits of dHash lie 6,652
    pairs of different knees, and copies of one image lie up to 10 bits apart.

    Yields
    ------
    first, second, correlation
        Indices, first < second; pairs with equal pixels are left out.
    """
    indices = _with_thumbnail(scans)
    if not indices:
        return
    standardised = _standardise(_thumbnails(scans))  # [n, 1024]
    digests = np.array([scans[i].pixel_digest for i in indices])
    for start in range(0, len(indices), _ROWS_A_BLOCK):
        block = standardised[start : start + _ROWS_A_BLOCK]
        correlation = block @ standardised[start:].T  # [rows, n - start]
        for row, column in np.argwhere(np.triu(correlation, k=1) > _SIMILAR):
            first, second = start + row, start + column
            if digests[first] != digests[second]:
                yield indices[first], indices[second], float(correlation[row, column])


def look_inverted(scans: Sequence[ImageScan]) -> list[int]:
    """Indices of images with a bright surround, where a radiograph as displayed has a dark one.

    The median of the border is brighter than the image's mean and than 0.35 of full scale, and even its lower
    quartile than 0.15, so that a bright plate along one side is not enough. Of 9,705 radiographs it finds 83
    of the 84 inverted ones and 4 others, and 99 % and 96 % of the rest once they are inverted.
    """
    indices = _with_thumbnail(scans)
    if not indices:
        return []
    images = _thumbnails(scans).astype(np.float32) / np.float32(255)
    inside = np.zeros((THUMBNAIL_SIDE, THUMBNAIL_SIDE), dtype=bool)
    inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
    quartile, median = np.quantile(images[:, ~inside], (0.25, 0.5), axis=1)
    bright = (median > images.mean(axis=(1, 2))) & (median > _BORDER_MEDIAN) & (quartile > _BORDER_QUARTILE)
    return [index for index, found in zip(indices, bright, strict=True) if found]


def _with_thumbnail(scans: Sequence[ImageScan]) -> list[int]:
    return [index for index, scan in enumerate(scans) if scan.thumbnail is not None]


def _thumbnails(scans: Sequence[ImageScan]) -> Bytes:
    """Thumbnails [n, 32, 32] of the images that have one."""
    return np.stack([scan.thumbnail for scan in scans if scan.thumbnail is not None])


def _standardise(thumbnails: Bytes) -> NDArray[np.float32]:
    """Rows [n, 1024] of mean 0 and length 1: their products are correlations. A flat thumbnail stays 0."""
    rows = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)
    return rows
