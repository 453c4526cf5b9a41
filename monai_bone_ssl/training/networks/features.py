"""Features of images, taken once: cached by network, preprocessing and image content."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import distributed
from tqdm import tqdm

from monai_bone_ssl.errors import CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.files import atomic_file, write_atomically
from monai_bone_ssl.model.preprocessing import PreprocessSpec, preprocess
from monai_bone_ssl.training.compute.distributed import computing_device, wait_for_all
from monai_bone_ssl.training.data import load_dataset, read_grey
from monai_bone_ssl.training.data.input_spec import input_spec
from monai_bone_ssl.training.networks.extractors import FeatureExtractor

__all__ = ["cache_name", "default_cache", "export_features", "extract_features"]

FloatArray = npt.NDArray[np.float32]
Item = tuple[Path, FloatArray]  # entry of the cache, and the image [H, W]
T = TypeVar("T")
R = TypeVar("R")

# Measured: one image at a time is fastest on a CPU, whose caches hold it, and one thread decodes more than
# the network takes.
_BATCH_SIZE = {"cpu": 1, "cuda": 32}
_WORKERS = {"cpu": 1, "cuda": 8}


def default_cache() -> Path:
    """Where features are kept between runs (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "monai_bone_ssl" / "features"


def cache_name(extractor: FeatureExtractor, spec: PreprocessSpec) -> str:
    """Folder in the cache: digest of everything but the image that a feature depends on."""
    return hashlib.sha256(msgspec.json.encode([extractor.recipe, spec])).hexdigest()[:32]


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
        Preprocessing of the model being made.
    images
        Image files, any kind :func:`~monai_bone_ssl.training.data.read_grey` reads. Equal files are computed
        once.
    cache
        Folder of the cache; made where missing.

    Raises
    ------
    CorruptImage
        If an image cannot be read.
    UnsupportedImage
        If an image is no grey radiograph, or blank.
    ReportError
        If the cache cannot be written.
    """
    folder = cache / cache_name(extractor, spec)
    with ThreadPoolExecutor() as pool:
        entries = [folder / f"{digest}.f32" for digest in pool.map(_content_digest, images)]
    missing = {
        entry: path for entry, path in zip(entries, images, strict=True) if not _is_whole(entry, extractor)
    }
    rank, processes = _place()
    wait_for_all()  # all have the same list, as none has begun to write
    _compute(extractor, spec, dict(islice(missing.items(), rank, None, processes)), quiet=rank > 0)
    wait_for_all()
    features = np.empty((len(images), extractor.width), dtype=np.float32)
    for row, entry in zip(features, entries, strict=True):
        row[:] = np.fromfile(entry, dtype="<f4")
    return features


def export_features(
    data: Path, extractor: FeatureExtractor, out: Path, *, long_side: int, cache: Path
) -> None:
    """Write features of labelled images with what belongs to them, for use outside this package.

    Parameters
    ----------
    data
        See :func:`~monai_bone_ssl.training.data.load_dataset`.
    extractor, cache
        See :func:`extract_features`.
    out
        ``.npz`` file without pickled objects: ``features`` float32 [N, D], ``names`` as the list gives them,
        ``labels`` 0 or 1, ``parts``, ``splits`` (empty where none is stated), and ``groups``: numbers that
        stand for the patients.
    long_side
        See :func:`~monai_bone_ssl.training.data.input_spec.input_spec`.

    Raises
    ------
    ConfigError
        If the data or ``long_side`` are not what was expected.
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
    """Write the entries that are missing; ``missing`` maps them to images."""
    device = computing_device()

    def load(item: tuple[Path, Path]) -> Item:
        entry, path = item
        return entry, _read(path, spec)

    batch_size, workers = _BATCH_SIZE[device.type], _WORKERS[device.type]
    with (
        ThreadPoolExecutor(workers) as readers,
        ThreadPoolExecutor(workers) as writers,
        tqdm(total=len(missing), desc="features", unit="image", disable=quiet) as progress,
    ):
        extractor.to(device)
        writing: list[Future[None]] = []
        loaded = _prefetched(readers, load, missing.items(), 2 * max(batch_size, workers))
        for batch in _batches_of_one_size(loaded, batch_size):
            rows = _features(extractor, np.stack([image for _, image in batch]), device)
            for future in writing:  # of the batch before: written while this one was computed
                future.result()
            writing = [
                writers.submit(write_atomically, entry, row.astype("<f4").tobytes())
                for (entry, _), row in zip(batch, rows, strict=True)
            ]
            progress.update(len(batch))
        for future in writing:
            future.result()
        extractor.to(torch.device("cpu"))


@torch.inference_mode()
def _features(extractor: FeatureExtractor, images: FloatArray, device: torch.device) -> FloatArray:
    """Features [B, D] of images [B, H, W]."""
    features: FloatArray = extractor(torch.from_numpy(images)[:, None].to(device)).cpu().numpy()
    return features


def _prefetched(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[R]:
    """Results in the order of the items, a bounded number of them computed ahead in the pool."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _batches_of_one_size(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    waiting: dict[tuple[int, ...], list[Item]] = defaultdict(list)
    for item in items:
        same_size = waiting[item[1].shape]
        same_size.append(item)
        if len(same_size) == batch_size:
            yield waiting.pop(item[1].shape)
    yield from waiting.values()


def _read(path: Path, spec: PreprocessSpec) -> FloatArray:
    pixels = read_grey(path)
    try:
        return preprocess(pixels, spec)
    except UnsupportedImage as error:
        raise UnsupportedImage(error.code, f"{path.name}: {error.text}") from error


def _content_digest(path: Path) -> str:
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
