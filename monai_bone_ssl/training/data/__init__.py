"""Labelled radiographs from a MURA folder, a FracAtlas-style folder or a CSV list."""

from __future__ import annotations

from pathlib import Path

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.data.csv_manifest import load_csv
from monai_bone_ssl.training.data.dataset import (
    PROTOCOL_SEEDS,
    AnnotatedBox,
    DataSource,
    LabelledDataset,
    LabelledImage,
    check_images,
    splits,
)
from monai_bone_ssl.training.data.fracatlas import load_fracatlas
from monai_bone_ssl.training.data.mura import find_mura, load_mura
from monai_bone_ssl.training.data.pixels import read_grey

__all__ = [
    "PROTOCOL_SEEDS",
    "AnnotatedBox",
    "DataSource",
    "LabelledDataset",
    "LabelledImage",
    "load_dataset",
    "read_grey",
    "splits",
]


def load_dataset(path: Path) -> LabelledDataset:
    """Labelled radiographs of a folder or list; its kind is recognised by what it holds.

    Parameters
    ----------
    path
        A MURA v1.1 folder or its parent, a FracAtlas-style folder (``labels.csv``, ``images/`` and, where
        fractures are outlined, ``fracture_boxes.json``), or a CSV ``path,label,part,patient[,study]`` whose
        paths are relative to the CSV.

    Returns
    -------
    LabelledDataset
        In the order of the list; every image file exists and no patient is in two splits.

    Raises
    ------
    ConfigError
        With code ``invalid_data`` where the data are of no such kind, or contradict themselves.
    """
    dataset = _load(path)
    check_images(dataset.images, path.resolve().name)
    return dataset


def _load(path: Path) -> LabelledDataset:
    mura = find_mura(path)
    if mura is not None:
        return load_mura(mura)
    if (path / "labels.csv").is_file():
        return load_fracatlas(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return load_csv(path)
    problem = "no known labelled data" if path.exists() else "no such file or folder"
    raise ConfigError(
        ReasonCode.INVALID_DATA,
        f"{path.resolve().name}: {problem}; expected a MURA folder (train_image_paths.csv), "
        "a FracAtlas-style folder (labels.csv), or a CSV with path,label,part,patient[,study]",
    )
