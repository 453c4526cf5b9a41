"""Pooled features of images, taken once: cached by weights, preprocessing and image content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.preprocessing import PreprocessSpec, preprocess
from monai_bone_ssl.training.data import read_grey
from monai_bone_ssl.training.network import TokenPooling

__all__ = ["default_cache", "extract_features"]

FloatArray = npt.NDArray[np.float32]


def default_cache() -> Path:
    """Where features are kept between runs (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "monai_bone_ssl" / "features"


def extract_features(
    pooling: TokenPooling,
    spec: PreprocessSpec,
    images: Sequence[Path],
    cache: Path,
) -> FloatArray:
    """Features [N, D] of N images; those in the cache are not computed again, so a stopped run resumes.

    Parameters
    ----------
    pooling
        Frozen network in evaluation mode.
    spec
        Preprocessing of the model being made.
    images
        Image files, any kind :func:`~monai_bone_ssl.training.data.read_grey` reads.
    cache
        Folder of the cache; made where missing.

    Raises
    ------
    CorruptImage
        If an image cannot be read.
    ReportError
        If the cache cannot be written.
    """
    folder = cache / _recipe(pooling, spec)
    features = np.empty((len(images), pooling.width), dtype=np.float32)
    for row, path in zip(features, tqdm(images, desc="features", unit="image"), strict=True):
        entry = folder / f"{hashlib.sha256(path.read_bytes()).hexdigest()}.f32"
        if entry.is_file():
            row[:] = np.fromfile(entry, dtype="<f4")
        else:
            row[:] = _features(pooling, preprocess(read_grey(path), spec))
            write_atomically(entry, row.astype("<f4").tobytes())
    return features


@torch.inference_mode()
def _features(pooling: TokenPooling, image: FloatArray) -> FloatArray:
    features: FloatArray = pooling(torch.from_numpy(image)[None, None]).features[0].numpy()
    return features


def _recipe(pooling: TokenPooling, spec: PreprocessSpec) -> str:
    """Digest of everything but the image that a feature depends on."""
    digest = hashlib.sha256(msgspec.json.encode(["mean and maximum, mirrored", spec, pooling.blocks]))
    for name, value in sorted(pooling.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:32]
