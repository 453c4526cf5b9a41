"""A row of a comparison that tests work out by hand, small data for it, and what a run stored."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_bone_ssl.findings import Region
from monai_bone_ssl.training.comparison.compare import compare_methods
from monai_bone_ssl.training.comparison.predictions import row_folder
from monai_bone_ssl.training.comparison.protocol import make_protocol
from monai_bone_ssl.training.data import LabelledDataset, load_dataset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Brightness:
    """A fake row: a logistic curve on the mean grey level, centred between the training classes' means."""

    name: str = "brightness"
    description: str = "Mean grey level"
    steepness: float = 8.0
    first_seed_only: bool = False
    calls: list[int] = field(default_factory=list)
    """Seeds of the predictions that were really computed."""

    @property
    def recipe(self) -> str:
        return f"brightness {self.steepness}"

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, seed: int) -> Floats:
        assert not set(dataset.groups[train]) & set(dataset.groups[test])
        self.calls.append(seed)
        grey = np.array([_grey(image.path) for image in dataset.images])
        labels = dataset.labels[train]
        centre = (grey[train][labels == 1].mean() + grey[train][labels == 0].mean()) / 2
        return np.asarray(1 / (1 + np.exp(-self.steepness * (grey[test] - centre))))

    def contributions(
        self, dataset: LabelledDataset, train: Ints, images: Ints
    ) -> dict[int, NDArray[np.float32]]:
        assert not set(dataset.groups[train]) & set(dataset.groups[images])
        return {int(i): np.eye(3, 2, dtype=np.float32) for i in images}

    def regions(self, dataset: LabelledDataset, train: Ints, images: Ints) -> dict[int, list[Region]]:
        """One region in the top left corner, as sure as the image is bright."""
        assert not set(dataset.groups[train]) & set(dataset.groups[images])
        return {int(i): [Region(0, 0, 4, 4, _grey(dataset.images[i].path), "possible")] for i in images}


def _grey(path: Path) -> float:
    with Image.open(path) as image:
        return float(np.asarray(image).mean() / 255)


def run(
    dataset: LabelledDataset, out: Path, *methods: Any, baseline: str = "metadata", **options: Any
) -> Any:
    defaults: dict[str, Any] = {"command": "bone-ssl compare mura -o out", "embed_images": True}
    return compare_methods(
        dataset, make_protocol(dataset), methods, out, baseline=baseline, **(defaults | options)
    )


def csv_data(folder: Path, n: int = 60) -> LabelledDataset:
    """Images of 30 patients without a split or studies."""
    rng = np.random.default_rng(3)
    lines = ["path,label,part,patient"]
    for i in range(n):
        level = np.clip(128 + 30 * (2 * (i % 2) - 1) + 25 * rng.normal(), 20, 235)
        pixels = np.clip(level + 20 * rng.normal(size=(9, 8)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        lines.append(f"{i}.png,{i % 2},knee,p{i % 30}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return load_dataset(folder / "list.csv")


def predictions(out: Path, name: str) -> list[dict[str, str]]:
    """What the run stored of one row; one file, as the split is held out."""
    (path,) = (out / "predictions" / row_folder(name)).glob("*.csv")
    return read_csv(path)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
