"""Features of images, computed once: cached by network, preprocessing and image content."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import distributed
from tqdm import tqdm

from monai_bone_ssl.errors import CorruptImage, ReasonCode
from monai_bone_ssl.files import atomic_file, write_atomically
from monai_bone_ssl.model.preprocessing import PREPROCESSING, PreprocessSpec
from monai_bone_ssl.threads import available_cores, map_in_order
from monai_bone_ssl.training.compute.distributed import computing_device, wait_for_all
from monai_bone_ssl.training.data import load_dataset, read_input
from monai_bone_ssl.training.data.input_spec import input_spec
from monai_bone_ssl.training.networks.extractors import FeatureExtractor

__all__ = ["cache_name", "content_digest", "default_cache", "export_features", "extract_features"]

FloatArray = npt.NDArray[np.float32]
Item = tuple[Path, FloatArray]  # entry of the cache, with the image [H, W] or its features [D]

# Measured: one image at a time is fastest on a CPU, whose caches hold it, and one thread decodes more than
# the network takes. The threads for a GPU read more than one batch ahead.
_BATCH_SIZE = {"cpu": 1, "cuda": 32}
_THREADS = {"cpu": 1, "cuda": 16}


def default_cache() -> Path:
    """Folder that keeps features between runs (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "monai_bone_ssl" / "features"


def cache_name(extractor: FeatureExtractor, spec: PreprocessSpec) -> str:
    """Name of a folder in the cache: a digest of all that features depend on besides the image."""
    return hashlib.sha256(msgspec.json.encode([extractor.recipe, PREPROCESSING, spec])).hexdigest()[:32]


def extract_features(
    extractor: FeatureExtractor,
    spec: PreprocessSpec,
    images: Sequence[Path],
    cache: Path,
) -> FloatArray:
    """Features [N, D] of N images; those in the cache are not computed again, so a stopped run resumes.

    Runs on a GPU where there is one. Of several processes
    (:func:`~monai_bone_ssl.training.compute.distributed.join_processes`) each computes its share and all
    return all features; the cache has to be a folder that all of them see.

    Parameters
    ----------
    extractor
        Frozen network in evaluation mode.
    spec
        Preprocessing of the images.
    images
        Image files [N] of any kind that :func:`~monai_bone_ssl.training.data.read_grey` reads. Equal files
        are computed once.
    cache
        Folder of the cache; created if it does not exist.

    Raises
    ------
    CorruptImage
        If an image cannot be read.
    UnsupportedImage
        If an image is not a grey radiograph, or blank.
    ReportError
        If the cache cannot be written.
    """
    folder = cache / cache_name(extractor, spec)
    digests = map_in_order(content_digest, images, available_cores())
    entries = [folder / f"{digest}.f32" for digest in digests]
    missing = {
        entry: path for entry, path in zip(entries, images, strict=True) if not _is_whole(entry, extractor)
    }
    rank, processes = _place()
    wait_for_all()  # no process writes before all have listed what is missing
    _compute(extractor, spec, dict(islice(missing.items(), rank, None, processes)), quiet=rank > 0)
    wait_for_all()
    features = np.empty((len(images), extractor.width), dtype=np.float32)
    for row, entry in zip(features, entries, strict=True):
        row[:] = np.fromfile(entry, dtype="<f4")
    return features


def export_features(
    data: Path, extractor: FeatureExtractor, out: Path, *, long_side: int, cache: Path
) -> None:
    """Write the features of labelled images, with their names and labels, for use outside this package.

    Parameters
    ----------
    data
        Labelled radiographs, see :func:`~monai_bone_ssl.training.data.load_dataset`.
    extractor, cache
        See :func:`extract_features`.
    out
        ``.npz`` file without pickled objects. It holds, for N images, ``features`` float32 [N, D], ``names``
        as the list gives them, ``labels`` 0 or 1, ``parts``, ``splits`` (empty text where the list states
        none), and ``groups``: a number in place of each patient.
    long_side
        Longer side of the network's input in pixels, see
        :func:`~monai_bone_ssl.training.data.input_spec.input_spec`.

    Raises
    ------
    ConfigError
        If the data, or ``long_side``, is not as expected.
    CorruptImage, UnsupportedImage
        If an image cannot be used.
    ReportError
        If a file cannot be written.
    """
    spec = input_spec(long_side, extractor.stride)
    dataset = load_dataset(data)
    features = extract_features(extractor, spec, dataset.paths, cache)
    if _place()[0] == 0:
        with atomic_file(out) as file:
            np.savez(
                file,
                features=features,
                names=np.array([image.name for image in dataset.images]),
                labels=dataset.labels,
                parts=dataset.parts,
                splits=np.array([image.split or "" for image in dataset.images]),
                groups=np.unique(dataset.groups, return_inverse=True)[1],
            )


def _compute(
    extractor: FeatureExtractor, spec: PreprocessSpec, missing: dict[Path, Path], *, quiet: bool
) -> None:
    """Write the entries that are missing; ``missing`` maps them to images.

    Images are read, and entries written, by other threads while the network works on a batch between them.
    """
    device = computing_device()
    threads = _THREADS[device.type]
    extractor.to(device)
    with (
        closing(map_in_order(lambda item: _load(item, spec), missing.items(), threads)) as loaded,
        closing(map_in_order(_write, _features(extractor, loaded, device), threads)) as written,
    ):
        for _ in tqdm(written, desc="features", total=len(missing), unit="image", disable=quiet):
            pass
    extractor.to(torch.device("cpu"))


def _load(item: tuple[Path, Path], spec: PreprocessSpec) -> Item:
    entry, path = item
    return entry, read_input(path, spec)


def _write(item: Item) -> None:
    entry, features = item
    write_atomically(entry, features.astype("<f4").tobytes())


def _features(extractor: FeatureExtractor, items: Iterable[Item], device: torch.device) -> Iterator[Item]:
    """Each image's features [D], in the order in which batches fill up."""
    for batch in _batches_of_one_size(items, _BATCH_SIZE[device.type]):
        yield from zip(
            [entry for entry, _ in batch],
            _run(extractor, np.stack([image for _, image in batch]), device),
            strict=True,
        )


@torch.inference_mode()
def _run(extractor: FeatureExtractor, images: FloatArray, device: torch.device) -> FloatArray:
    """Features [B, D] of images [B, H, W]."""
    features: FloatArray = extractor(torch.from_numpy(images)[:, None].to(device)).cpu().numpy()
    return features


def _batches_of_one_size(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    """Full batches as soon as there are, and in the end the incomplete ones."""
    waiting: dict[tuple[int, ...], list[Item]] = defaultdict(list)
    for item in items:
        same_size = waiting[item[1].shape]
        same_size.append(item)
        if len(same_size) == batch_size:
            yield waiting.pop(item[1].shape)
    yield from waiting.values()


def content_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises
    ------
    CorruptImage
        If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        text = f"{path.name}: cannot be read ({error.strerror})"
        raise CorruptImage(ReasonCode.UNREADABLE_FILE, text) from error


def _is_whole(entry: Path, extractor: FeatureExtractor) -> bool:
    return entry.is_file() and entry.stat().st_size == 4 * extractor.width


def _place() -> tuple[int, int]:
    if distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
