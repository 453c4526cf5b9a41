"""The kinds of labelled data: which one a path holds, and what to give where it holds none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.data.csv_manifest import find_manifests, load_csv
from monai_bone_ssl.training.data.dataset import LabelledDataset, Listing, check_images
from monai_bone_ssl.training.data.dicom_tree import STUDY_LABELS, load_dicom_tree
from monai_bone_ssl.training.data.fracatlas import load_fracatlas
from monai_bone_ssl.training.data.image_files import is_dicom
from monai_bone_ssl.training.data.mura import MURA_FOLDER, MURA_LISTS, find_mura, load_mura
from monai_bone_ssl.training.data.tables import invalid_data

__all__ = ["is_labelled", "load_dataset", "read_listing", "unknown_data"]

_EXPECTED = (
    "a MURA folder (train_image_paths.csv), a FracAtlas-style folder (labels.csv), "
    f"a folder of DICOM files with {STUDY_LABELS}, or a CSV with path,label,part,patient[,study]"
)
_ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})
# An image of MURA lies five folders below the one to give.
_FOLDERS_UP = 5
_FILES_TRIED = 20


def load_dataset(path: Path) -> LabelledDataset:
    """Labelled radiographs of a folder or list; its kind is recognised by what it holds.

    Parameters
    ----------
    path
        A MURA v1.1 folder or its parent; a FracAtlas-style folder (``labels.csv``, ``images/`` and, where
        fractures are outlined, ``fracture_boxes.json``); a folder of DICOM files, nested in any way, with
        ``study_labels.csv``; or a CSV ``path,label,part,patient[,study][,split][,acquisition]`` whose paths
        are relative to the CSV, or the folder with this CSV and no other of its kind.

    Returns
    -------
    LabelledDataset
        Images in the order of the list, DICOM files in that of their paths; every image file exists and no
        patient is in two splits.

    Raises
    ------
    ConfigError
        Where the data are of no such kind, or contradict themselves.
    """
    dataset, contradictions = read_listing(path)
    if contradictions:
        text, more = contradictions[0], len(contradictions) - 1
        if more:
            text += f"; {more} more such contradictions, all shown by: bone-ssl data check {path.name}"
        raise invalid_data(text)
    check_images(dataset.images, path.resolve().name)
    return dataset


def read_listing(path: Path) -> Listing:
    """Labelled radiographs as listed, contradictions included; else as :func:`load_dataset`."""
    load = _loader(path)
    if load is None:
        raise unknown_data(path)
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


def unknown_data(path: Path) -> ConfigError:
    """The error for a path of no known kind: what was expected, and what to give instead."""
    return invalid_data(f"{path.resolve().name}: {_advice(path)}")


def _advice(path: Path) -> str:
    if not path.exists():
        return f"no such file or folder; expected {_EXPECTED}"
    if path.suffix.lower() in _ARCHIVES and path.is_file():
        return f"an archive; unpack it and give the folder: {_EXPECTED}"
    near = next((folder for folder in _folders_nearby(path) if is_labelled(folder)), None)
    if near is not None:
        return f"no known labelled data; give {near} instead, which holds such data"
    return f"no known labelled data; expected {_missing(path) or _EXPECTED}"


def _folders_nearby(path: Path) -> Iterator[Path]:
    """Folders that the caller may have meant: those around the path, then those right below it."""
    # A folder beside the path is not what was meant, though MURA's parent stands for MURA.
    around = (folder for folder in path.absolute().parents if not (folder / MURA_FOLDER).is_dir())
    yield from islice(around, _FOLDERS_UP)
    yield from (child for child in sorted(path.iterdir() if path.is_dir() else ()) if child.is_dir())


def _missing(path: Path) -> str | None:
    """The files that a folder lacks to be of a known kind; None where it resembles none."""
    if any((path / split).is_dir() and any((path / split).glob("XR_*")) for split in ("train", "valid")):
        return "MURA's lists beside its folders: {train,valid}_image_paths.csv and _labeled_studies.csv"
    manifests = find_manifests(path)
    if manifests:
        return f"one of the lists in it: {', '.join(file.name for file in manifests)}"
    if (path / "images").is_dir() and (path / "dataset.csv").is_file():
        return (
            "labels.csv beside FracAtlas' dataset.csv, with the columns "
            "image_id,part,fractured,hardware,block,neardup_group"
        )
    files = (file for file in path.rglob("*") if file.is_file())
    if any(is_dicom(file) for file in islice(files, _FILES_TRIED)):
        return f"{STUDY_LABELS} beside the DICOM files, with the columns study_instance_uid,label"
    return None
