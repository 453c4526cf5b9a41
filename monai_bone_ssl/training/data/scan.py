"""One decoding pass over image files, and what to keep of each one: digests, size and a thumbnail."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from monai_bone_ssl.errors import CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.threads import available_cores, map_in_order
from monai_bone_ssl.training.data.input_spec import input_spec
from monai_bone_ssl.training.data.pixels import read_grey

__all__ = ["THUMBNAIL_SIDE", "ImageScan", "scan_images"]

#: Rows and columns of a thumbnail.
THUMBNAIL_SIDE = 32

# As the models' preprocessing, but small; an image is blank here where it is blank there.
_SMALL = input_spec(64, 1)


@dataclass(frozen=True, eq=False)
class ImageScan:
    """What decoding one file told."""

    file_digest: str | None = None
    """SHA-256 of the file; None where it cannot be read."""
    pixel_digest: str | None = None
    """SHA-256 of the decoded pixels and their shape; None where they cannot be decoded."""
    size: tuple[int, int] | None = None
    """Rows and columns."""
    thumbnail: NDArray[np.uint8] | None = None
    """[32, 32], contrast stretched, aspect not kept; None for a blank image too."""
    error: CorruptImage | UnsupportedImage | None = None
    """Why the image is of no use."""


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
    return np.asarray(small.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX))
