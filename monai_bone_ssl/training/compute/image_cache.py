"""Radiographs decoded once: preprocessed to uint8 and kept in one memory-mapped file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from monai_bone_ssl.errors import ConfigError, CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.files import atomic_file, write_atomically
from monai_bone_ssl.model.preprocessing import PREPROCESSING, PreprocessSpec
from monai_bone_ssl.threads import available_cores, map_in_order
from monai_bone_ssl.training.data import read_input

__all__ = ["ImageCache", "default_image_cache", "open_image_cache"]

ByteImage = npt.NDArray[np.uint8]

_PIXELS, _INDEX = "pixels.u8", "index.json"


def default_image_cache() -> Path:
    """Where decoded images are kept between runs (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "monai_bone_ssl" / "images"


class _Entry(msgspec.Struct, frozen=True):
    """Offset of an image's first byte in the file of pixels, and its height and width in pixels.

    Both sides are 0 where the image was left out, for the reason ``left_out``.
    """

    offset: int
    height: int
    width: int
    left_out: str = ""


class ImageCache:
    """Preprocessed images in a folder that :func:`open_image_cache` made, in the order of their list."""

    def __init__(self, folder: Path) -> None:
        self.key = folder.name
        """Digest of the images' bytes and of the preprocessing."""
        self._entries = msgspec.json.decode((folder / _INDEX).read_bytes(), type=list[_Entry])
        # A file of no bytes cannot be mapped.
        self._pixels = np.memmap(folder / _PIXELS, mode="r") if self.usable.size else np.empty(0, np.uint8)

    @property
    def usable(self) -> npt.NDArray[np.int64]:
        """Indices of the images that could be read."""
        return np.flatnonzero([entry.height > 0 for entry in self._entries])

    @property
    def left_out(self) -> list[str]:
        """Why each of the other images could not be used."""
        return [entry.left_out for entry in self._entries if entry.height == 0]

    def __getitem__(self, index: int) -> ByteImage:
        """Image [H, W]; a view of the file, not to be written to."""
        entry = self._entries[index]
        flat = self._pixels[entry.offset : entry.offset + entry.height * entry.width]
        return flat.reshape(entry.height, entry.width)


def open_image_cache(paths: Sequence[Path], spec: PreprocessSpec, cache: Path) -> ImageCache:
    """The images at ``paths``, decoded now unless an earlier run did so.

    Parameters
    ----------
    paths
        Image files of any kind that :func:`~monai_bone_ssl.training.data.read_grey` reads.
    spec
        Preprocessing; the 256 grey levels of the result span [0, 1].
    cache
        Folder of all caches. A cache is known by the bytes of its images and by ``spec``, so a file that
        was moved is not decoded again and one that changed is.

    Raises
    ------
    ConfigError
        If a file cannot be opened at all, or no image can be used.
    ReportError
        If the cache cannot be written.
    """
    folder = cache / _key(paths, spec)
    if not (folder / _INDEX).is_file():
        _build(paths, spec, folder)
    images = ImageCache(folder)
    if not images.usable.size:
        raise ConfigError(
            ReasonCode.INVALID_DATA, f"none of {len(paths)} images can be used: {images.left_out[0]}"
        )
    return images


def _build(paths: Sequence[Path], spec: PreprocessSpec, folder: Path) -> None:
    """Write the pixels, then the index: a folder with an index is complete."""
    entries, offset = [], 0
    with atomic_file(folder / _PIXELS) as file:
        decoded = map_in_order(partial(_decode, spec=spec), paths, available_cores())
        for image in tqdm(decoded, total=len(paths), desc="decoding", unit="image"):
            if isinstance(image, str):
                entries.append(_Entry(offset, 0, 0, image))
            else:
                file.write(image.tobytes())
                entries.append(_Entry(offset, *image.shape))
                offset += image.size
    write_atomically(folder / _INDEX, msgspec.json.encode(entries))


def _decode(path: Path, spec: PreprocessSpec) -> ByteImage | str:
    try:
        image = read_input(path, spec)
    except (CorruptImage, UnsupportedImage) as error:
        return f"{path.name}: {error.text.removeprefix(f'{path.name}: ')}"
    return np.rint(image * 255).astype(np.uint8)


def _key(paths: Sequence[Path], spec: PreprocessSpec) -> str:
    """Digest of the recipe and of every image's bytes, in order."""
    digest = hashlib.sha256(msgspec.json.encode(["uint8", PREPROCESSING, spec]))
    try:
        for path in tqdm(paths, desc="reading", unit="image", delay=2):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        text = f"{path.name}: cannot be read ({error.strerror})"
        raise ConfigError(ReasonCode.INVALID_DATA, text) from error
    return digest.hexdigest()[:32]
