"""One decoding pass over image files, and what its thumbnails and digests make suspicious.

Suspicious are pictures that occur twice and pictures with black and white exchanged. The limits were set on
FracAtlas (3,101 radiographs) and the knees of the Osteoarthritis Initiative (6,604), by looking at what lies
on either side of them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from monai_bone_ssl.errors import CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.threads import available_cores, map_in_order
from monai_bone_ssl.training.data.image_files import read_grey
from monai_bone_ssl.training.data.input_spec import input_spec

__all__ = ["ImageScan", "look_inverted", "same_pictures", "scan_images", "similar_pictures"]

# Rows and columns of a thumbnail.
_SIDE = 32
# The models' preprocessing at a small size; an image is blank here where it is blank there.
_SMALL = input_spec(64, 1)

# Pearson correlation of two thumbnails. Copies that were halved, recompressed (JPEG quality 30) or brightened
# (gamma 0.7 to 1.5) reach 0.977 to 1, half of them 0.993; cropping 1 % of a side gives 0.97 to 0.99. The most
# alike radiographs of two patients reach 0.983 (knees) and 0.980 (FracAtlas).
_SIMILAR = 0.985
_ROWS_A_BLOCK = 1024

_BORDER = 3  # pixels of a thumbnail
_BORDER_MEDIAN = 0.35
_BORDER_QUARTILE = 0.15


@dataclass(frozen=True, eq=False)
class ImageScan:
    """One file decoded, and reduced to what is compared."""

    file_digest: str | None = None
    """SHA-256 of the file; None where it cannot be read."""
    pixel_digest: str | None = None
    """SHA-256 of the decoded pixels and their shape; None where they cannot be decoded."""
    size: tuple[int, int] | None = None
    """Rows and columns; None where the pixels cannot be decoded."""
    thumbnail: NDArray[np.uint8] | None = None
    """Grey levels [32, 32], contrast stretched, aspect not kept; None for a blank image too."""
    error: CorruptImage | UnsupportedImage | None = None
    """Why the image is of no use; None where it is of use."""


def scan_images(paths: Sequence[Path]) -> list[ImageScan]:
    """Decode every file once, on all cores."""
    # Pillow and the DICOM decoders let go of the interpreter while they work, so threads are enough.
    scans = map_in_order(_scan, paths, available_cores())
    return list(tqdm(scans, total=len(paths), desc="decoding", unit="image"))


def _scan(path: Path) -> ImageScan:
    file_digest = pixel_digest = size = None
    try:
        file_digest = _file_digest(path)
        pixels = read_grey(path)
        size = (pixels.shape[0], pixels.shape[1])
        pixel_digest = hashlib.sha256(str(size).encode() + pixels.tobytes()).hexdigest()
        return ImageScan(file_digest, pixel_digest, size, _thumbnail(pixels))
    except (CorruptImage, UnsupportedImage) as error:
        return ImageScan(file_digest, pixel_digest, size, error=error)


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        text = f"{path.name}: cannot be read ({error.strerror})"
        raise CorruptImage(ReasonCode.UNREADABLE_FILE, text) from error


def _thumbnail(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    small = Image.fromarray(preprocess(pixels, _SMALL) * np.float32(255)).convert("L")
    return np.asarray(small.resize((_SIDE, _SIDE), Image.Resampling.BOX))


# --- what is suspicious ------------------------------------------------------------------------------------


def same_pictures(scans: Sequence[ImageScan]) -> list[tuple[int, ...]]:
    """Indices of images whose pixels are equal, each group of two or more in order."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, scan in enumerate(scans):
        if scan.pixel_digest is not None:
            groups[scan.pixel_digest].append(index)
    return [tuple(indices) for indices in groups.values() if len(indices) > 1]


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
    indices, thumbnails = _thumbnails(scans)
    standardised = _standardise(thumbnails)  # [n, 1024]
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
    indices, thumbnails = _thumbnails(scans)
    if not indices:
        return []
    images = thumbnails.astype(np.float32) / np.float32(255)
    border = np.ones((_SIDE, _SIDE), dtype=bool)
    border[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    quartile, median = np.quantile(images[:, border], (0.25, 0.5), axis=1)
    bright = (median > images.mean(axis=(1, 2))) & (median > _BORDER_MEDIAN) & (quartile > _BORDER_QUARTILE)
    return [indices[position] for position in np.flatnonzero(bright)]


def _thumbnails(scans: Sequence[ImageScan]) -> tuple[list[int], NDArray[np.uint8]]:
    """Indices and thumbnails [n, 32, 32] of the images that have one."""
    present = {index: scan.thumbnail for index, scan in enumerate(scans) if scan.thumbnail is not None}
    thumbnails = np.array(list(present.values()), dtype=np.uint8)
    return list(present), thumbnails.reshape(-1, _SIDE, _SIDE)


def _standardise(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rows [n, 1024] of mean 0 and length 1: their products are correlations. A flat thumbnail stays 0."""
    rows = thumbnails.reshape(len(thumbnails), _SIDE**2).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)
    return rows
