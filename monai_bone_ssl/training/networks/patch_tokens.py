"""Features and patch tokens of images, computed once and kept small: what a model is fitted to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from monai_bone_ssl.files import atomic_file
from monai_bone_ssl.model.preprocessing import PreprocessSpec
from monai_bone_ssl.threads import available_cores, map_in_order
from monai_bone_ssl.training.data import read_input
from monai_bone_ssl.training.networks.extractors import TokenFeatures
from monai_bone_ssl.training.networks.features import cache_name, content_digest
from monai_bone_ssl.training.networks.network import average_views

__all__ = ["Basis", "PatchTokens", "extract_patch_tokens"]

FloatArray = npt.NDArray[np.float32]

# Principal components that are kept of a patch's L * C channels, which repeat each other from block to block:
# 98 % of the standardised variance, a third of the space.
_COMPONENTS = 512

# The basis is fitted to so many patches of so many images.
_BASIS_IMAGES, _BASIS_PATCHES = 150, 200


@dataclass(frozen=True, eq=False)
class Basis:
    """Principal components of standardised patch tokens: projected = (token - mean) @ matrix."""

    mean: FloatArray
    """Mean token [T]."""
    matrix: FloatArray
    """Components [T, K], divided by the standard deviation of their channel."""

    def project(self, tokens: FloatArray) -> npt.NDArray[np.float16]:
        """Projections [..., K] of tokens [..., T], in half precision."""
        return ((tokens - self.mean) @ self.matrix).astype(np.float16)

    def in_tokens(self, weight: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Layer of tokens, weights [U, T] and bias [U], that gives what weights [U, K] and a bias of
        projections give."""
        of_tokens = weight @ self.matrix.T
        return of_tokens, np.asarray(bias - of_tokens @ self.mean, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class PatchTokens:
    """Pooled features of n images, and their projected patch tokens, read from the cache one at a time."""

    features: FloatArray
    """Pooled features [n, D]."""
    basis: Basis
    entries: tuple[Path, ...]
    """Entries of the cache [n]."""

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, image: int) -> npt.NDArray[np.float16]:
        """Projections [h, w, K] of the patches of one image."""
        with np.load(self.entries[image], allow_pickle=False) as entry:
            projected: npt.NDArray[np.float16] = entry["projected"]
        return projected


def extract_patch_tokens(
    extractor: TokenFeatures, spec: PreprocessSpec, images: Sequence[Path], cache: Path
) -> PatchTokens:
    """Features and patch tokens of n images; those in the cache are kept, so a stopped run resumes.

    Parameters
    ----------
    extractor
        Frozen network in evaluation mode.
    spec
        Preprocessing of the images.
    images
        Image files [n] that :func:`~monai_bone_ssl.training.data.read_grey` reads.
    cache
        Folder of the cache; it gets about 0.9 MB an image at a long side of 448 pixels.

    Raises
    ------
    CorruptImage, UnsupportedImage
        If an image cannot be used.
    ReportError
        If the cache cannot be written.
    """
    digests = list(map_in_order(content_digest, images, available_cores()))
    sample = range(0, len(images), max(1, len(images) // _BASIS_IMAGES))
    of_basis = hashlib.sha256(msgspec.json.encode([digests[i] for i in sample])).hexdigest()[:16]
    folder = cache / f"{cache_name(extractor, spec)}-tokens-{of_basis}"
    basis = _basis(extractor, spec, [images[i] for i in sample], folder / "basis.npz")
    entries = tuple(folder / f"{digest}.npz" for digest in digests)
    missing = {entry: path for entry, path in zip(entries, images, strict=True) if not entry.is_file()}
    for entry, path in tqdm(missing.items(), desc="patch tokens", unit="image"):
        features, tokens = _run(extractor, read_input(path, spec))
        projected = basis.project(tokens)
        with atomic_file(entry) as file:
            np.savez(file, allow_pickle=False, features=features, projected=projected)
    return PatchTokens(np.stack([_features(entry) for entry in entries]), basis, entries)


def _features(entry: Path) -> FloatArray:
    with np.load(entry, allow_pickle=False) as stored:
        features: FloatArray = stored["features"]
    return features


@torch.inference_mode()
def _run(extractor: TokenFeatures, image: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Features [D], and patch tokens [h, w, T] averaged over an image [H, W] and its mirror image."""
    pooled = extractor.pooling(torch.from_numpy(image)[None, None])
    tokens = average_views(pooled.tokens)[0].movedim(0, 2)
    return pooled.features[0].numpy(), np.ascontiguousarray(tokens.numpy())


def _basis(extractor: TokenFeatures, spec: PreprocessSpec, images: Sequence[Path], path: Path) -> Basis:
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            return Basis(stored["mean"], stored["matrix"])
    basis = _principal_components(_sample(extractor, spec, images))
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, mean=basis.mean, matrix=basis.matrix)
    return basis


def _sample(extractor: TokenFeatures, spec: PreprocessSpec, images: Sequence[Path]) -> FloatArray:
    """Tokens [N, T] of random patches."""
    generator = np.random.default_rng(0)
    chosen = []
    for path in tqdm(images, desc="basis of the tokens", unit="image"):
        _, tokens = _run(extractor, read_input(path, spec))
        flat = tokens.reshape(-1, tokens.shape[-1])
        chosen.append(flat[generator.permutation(len(flat))[:_BASIS_PATCHES]])
    return np.concatenate(chosen)


def _principal_components(tokens: FloatArray) -> Basis:
    mean, deviation = tokens.mean(axis=0), tokens.std(axis=0) + 1e-6
    standardised = (tokens - mean) / deviation
    values, vectors = np.linalg.eigh(standardised.T @ standardised / len(tokens))
    kept = slice(None, None, -1)
    matrix = vectors[:, kept][:, :_COMPONENTS] / deviation[:, None]
    # Half whitened: strong components keep some of their weight under the L2 penalty, weak ones are heard.
    scale = np.maximum(values[kept][:_COMPONENTS], 1e-6) ** -0.25
    return Basis(mean, (matrix * scale).astype(np.float32))
