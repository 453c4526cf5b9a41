"""What to say about a path that holds no labelled data: what was expected, and what to give instead."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.data.csv_manifest import find_manifests
from monai_bone_ssl.training.data.dicom_tree import STUDY_LABELS
from monai_bone_ssl.training.data.mura import MURA_FOLDER
from monai_bone_ssl.training.data.pixels import is_dicom

__all__ = ["unknown_data"]

_EXPECTED = (
    "a MURA folder (train_image_paths.csv), a FracAtlas-style folder (labels.csv), "
    f"a folder of DICOM files with {STUDY_LABELS}, or a CSV with path,label,part,patient[,study]"
)
_ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})
# An image of MURA lies five folders below the one to give.
_FOLDERS_UP = 5
_FILES_TRIED = 20


def unknown_data(path: Path, is_labelled: Callable[[Path], bool]) -> ConfigError:
    """The error for a path of no known kind.

    Parameters
    ----------
    path
        What the caller gave.
    is_labelled
        Whether a path is of a known kind.
    """
    name = path.resolve().name
    if not path.exists():
        return _error(f"{name}: no such file or folder; expected {_EXPECTED}")
    if path.suffix.lower() in _ARCHIVES and path.is_file():
        return _error(f"{name}: an archive; unpack it and give the folder: {_EXPECTED}")
    near = next((place for place in _nearby(path) if is_labelled(place)), None)
    if near is not None:
        return _error(f"{name}: no known labelled data; give {near} instead, which holds such data")
    return _error(f"{name}: no known labelled data; expected {_missing(path) or _EXPECTED}")


def _nearby(path: Path) -> chain[Path]:
    """Where the data may be that the caller meant: around, or right below."""
    below = sorted(path.iterdir()) if path.is_dir() else []
    # A folder beside the path is not what was meant, though MURA's parent stands for MURA.
    around = (folder for folder in path.absolute().parents if not (folder / MURA_FOLDER).is_dir())
    return chain(islice(around, _FOLDERS_UP), (child for child in below if child.is_dir()))


def _missing(path: Path) -> str | None:
    """What a folder lacks that is almost one of the known kinds."""
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


def _error(text: str) -> ConfigError:
    return ConfigError(ReasonCode.INVALID_DATA, text)
