"""Predictions written the moment they exist, so that a stopped comparison resumes where it was."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_bone_ssl import __version__
from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import atomic_file, csv_bytes, write_atomically
from monai_bone_ssl.findings import Region
from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.protocol import EvaluationProtocol, ProtocolFold
from monai_bone_ssl.training.data import LabelledDataset

__all__ = ["PredictionStore", "row_folder"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_COLUMNS = ("path", "label", "part", "probability")


class PredictionStore:
    """Predictions, contributions and regions of every (method, seed, fold), each in a file of its own.

    A file's name carries a digest of all that its content depends on: images, labels, groups, fold, method
    and software version. So a file that exists is right, and what has changed is computed again.

    Parameters
    ----------
    folder
        Folder for the files; made where missing.
    dataset
        Labelled images.
    """

    def __init__(self, folder: Path, dataset: LabelledDataset) -> None:
        self.folder = folder
        self.dataset = dataset
        self.data_digest = _content_digest(dataset)

    def runs(self, method: Method, protocol: EvaluationProtocol) -> dict[int, Floats]:
        """Probabilities [m] of the evaluated images for each seed that the method is run under."""
        seeds = protocol.seeds[:1] if method.first_seed_only else protocol.seeds
        place = np.full(len(self.dataset), -1)
        place[protocol.evaluated] = np.arange(len(protocol.evaluated))
        runs = {seed: np.full(len(protocol.evaluated), np.nan) for seed in seeds}
        folds = [fold for seed in seeds for fold in protocol.folds_of(seed)]
        for fold in tqdm(folds, desc=method.name, unit="fold"):
            runs[fold.seed][place[fold.test]] = self.predict(method, fold)
        return runs

    def predict(self, method: Method, fold: ProtocolFold) -> Floats:
        """Probabilities of a fold's test images: read where they are known, else computed and written.

        Raises
        ------
        ConfigError
            If a file in the folder is not what was written there.
        """
        path = self._path(method, fold, "", ".csv")
        if path.is_file():
            return self._read(path, fold)
        probabilities = method.predict(self.dataset, fold.train, fold.test, fold.seed)
        if probabilities.shape != fold.test.shape or not ((probabilities >= 0) & (probabilities <= 1)).all():
            text = f"{method.name}: expected {len(fold.test)} probabilities in [0, 1]"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        write_atomically(path, self._table(fold, probabilities))
        return probabilities

    def contributions(
        self, method: Method, fold: ProtocolFold, images: Ints
    ) -> dict[int, NDArray[np.float32]]:
        """Contributions [h, w] for some of a fold's test images, by index; empty for a method without."""
        path = self._path(method, replace(fold, test=images), "contributions-", ".npz")
        if path.is_file():
            with np.load(path, allow_pickle=False) as file:
                return {int(i): file[i] for i in file.files}
        contributions = dict(method.contributions(self.dataset, fold.train, images) or {})
        if contributions:
            with atomic_file(path) as file:
                np.savez(file, allow_pickle=False, **{str(i): values for i, values in contributions.items()})
        return contributions

    def regions(
        self, method: Method, fold: ProtocolFold, images: Ints
    ) -> Mapping[int, Sequence[Region]] | None:
        """Regions of some of a fold's test images, by index; None for a method without."""
        path = self._path(method, replace(fold, test=images), "regions-", ".json")
        if path.is_file():
            return msgspec.json.decode(path.read_bytes(), type=dict[int, tuple[Region, ...]])
        regions = method.regions(self.dataset, fold.train, images)
        if regions is not None:
            write_atomically(path, msgspec.json.encode(regions))
        return regions

    def _path(self, method: Method, fold: ProtocolFold, kind: str, suffix: str) -> Path:
        indices = fold.train.tolist(), fold.test.tolist()
        parts = [__version__, self.data_digest, method.recipe, fold.seed, *indices]
        digest = hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
        name = f"{kind}seed{fold.seed}-fold{fold.number}-{digest}{suffix}"
        return self.folder / row_folder(method.name) / name

    def _table(self, fold: ProtocolFold, probabilities: Floats) -> bytes:
        tested = zip([self.dataset.images[i] for i in fold.test], probabilities.tolist(), strict=True)
        return csv_bytes(_COLUMNS, ((image.name, image.label, image.part, p) for image, p in tested))

    def _read(self, path: Path, fold: ProtocolFold) -> Floats:
        names = [self.dataset.images[i].name for i in fold.test]
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            if [row["path"] for row in rows] != names:
                raise ValueError("other images")
            return np.array([float(row["probability"]) for row in rows])
        except (OSError, ValueError, KeyError, TypeError) as error:
            name = f"{path.parent.name}/{path.name}"
            text = f"{name}: altered since it was written; delete it to compute it again"
            raise ConfigError(ReasonCode.INVALID_DATA, text) from error


def _content_digest(dataset: LabelledDataset) -> str:
    """Digest of what a prediction may depend on: each image's bytes, name, label, and where it belongs."""
    digest = hashlib.sha256()
    for image in tqdm(dataset.images, desc="reading the data", unit="image"):
        belongs = [image.part, image.group, image.study, image.split, image.acquisition]
        facts = [image.name, image.label, *belongs]
        digest.update(msgspec.json.encode(facts))
        digest.update(hashlib.sha256(image.path.read_bytes()).digest())
    return digest.hexdigest()


def row_folder(name: str) -> str:
    """Name of the folder that holds the predictions of a row of this name."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_") or "row"
