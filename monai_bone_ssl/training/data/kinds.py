"""Which kind of labelled data a path holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.data.csv_manifest import find_manifests, load_csv
from monai_bone_ssl.training.data.dataset import LabelledDataset, Listing, check_images
from monai_bone_ssl.training.data.dicom_tree import STUDY_LABELS, load_dicom_tree
from monai_bone_ssl.training.data.fracatlas import load_fracatlas
from monai_bone_ssl.training.data.mura import MURA_LISTS, find_mura, load_mura
from monai_bone_ssl.training.data.wrong_path import unknown_data

__all__ = ["is_labelled", "load_dataset", "read_listing"]


def load_dataset(path: Path) -> LabelledDataset:
    """Labelled radiographs of a folder or list; its kind is recognised by what it holds.

    Parameters
    ----------
    path
        A MURA v1.1 folder or its parent; a FracAtlas-style folder (``labels.csv``, ``images/`` and, where
        fractures are outlined, ``fracture_boxes.json``); a folder of DICOM files, nested in any way, with
        ``study_labels.csv``; or a CSV ``path,label,part,patient[,study][,split]`` whose paths are relative
        to the CSV, or the folder with this CSV and no other of its kind.

    Returns
    -------
    LabelledDataset
        In the order of the list, of DICOM files in that of their paths; every image file exists and no
        patient is in two splits.

    Raises
    ------
    ConfigError
        With code ``invalid_data`` where the data are of no such kind, or contradict themselves.
    """
    dataset, contradictions = read_listing(path)
    if contradictions:
        raise ConfigError(ReasonCode.INVALID_DATA, contradictions[0] + _more(len(contradictions) - 1, path))
    check_images(dataset.images, path.resolve().name)
    return dataset


def read_listing(path: Path) -> Listing:
    """Labelled radiographs as listed, contradictions included; else as :func:`load_dataset`."""
    load = _loader(path)
    if load is None:
        raise unknown_data(path, is_labelled)
    return load()


def is_labelled(path: Path) -> bool:
    """Whether a path is of a kind that :func:`load_dataset` reads."""
    return _loader(path) is not None


def _loader(path: Path) -> Callable[[], Listing] | None:
    mura = find_mura(path)
    if mura is not None:
        return lambda: load_mura(mura)
    if (path / STUDY_LABELS).is_file():
        return lambda: load_dicom_tree(path)
    if (path / "labels.csv").is_file():
        return lambda: load_fracatlas(path)
    manifests = find_manifests(path)
    if len(manifests) == 1 and manifests[0].name not in (*MURA_LISTS, STUDY_LABELS):
        return lambda: load_csv(manifests[0])
    return None


def _more(count: int, path: Path) -> str:
    if not count:
        return ""
    return f"; {count} more such contradictions, all shown by: bone-ssl data check {path.name}"
