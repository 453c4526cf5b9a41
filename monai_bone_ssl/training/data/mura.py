"""The MURA v1.1 folder (Rajpurkar et al. 2018, arXiv:1712.06957) as Stanford distributes it.

``{train,valid}_image_paths.csv`` list images as ``MURA-v1.1/train/XR_ELBOW/patient00011/
study1_negative/image1.png``; ``{train,valid}_labeled_studies.csv`` give each study folder its label.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from monai_bone_ssl.body_parts import MURA_PARTS
from monai_bone_ssl.findings import ABNORMALITY
from monai_bone_ssl.training.data.dataset import DataSource, LabelledDataset, LabelledImage, Listing
from monai_bone_ssl.training.data.tables import Split, invalid_data, parse_flag, read_rows

__all__ = ["MURA_FOLDER", "MURA_LISTS", "find_mura", "load_mura"]

_SPLITS: tuple[Split, ...] = ("train", "valid")
#: Name of the folder as distributed.
MURA_FOLDER = "MURA-v1.1"
#: Names of the four lists.
MURA_LISTS = tuple(f"{split}_{kind}.csv" for split in _SPLITS for kind in ("image_paths", "labeled_studies"))
_SOURCE = DataSource(
    name="MURA v1.1",
    licence="MURA Research Use Agreement of Stanford University (non-commercial, no redistribution)",
    reference="Rajpurkar et al. 2018, arXiv:1712.06957",
    public_names=True,
)


def find_mura(path: Path) -> Path | None:
    """The folder with MURA's lists: ``path`` itself or ``path/MURA-v1.1``; None where it is neither."""
    for folder in (path, path / MURA_FOLDER):
        if any((folder / f"{split}_image_paths.csv").is_file() for split in _SPLITS):
            return folder
    return None


def load_mura(root: Path) -> Listing:
    """Images of both splits of MURA; the label is the study's and means "abnormal".

    Parameters
    ----------
    root
        Folder with the four lists, whatever its name.

    Raises
    ------
    ConfigError
        Naming the line and what was expected there.
    """
    contradictions: list[str] = []
    images = tuple(image for split in _SPLITS for image in _images_of_split(root, split, contradictions))
    parts = {image.part for image in images}
    known = {name: part for name, part in MURA_PARTS.items() if name in parts}
    dataset = LabelledDataset(images, MappingProxyType(known), ABNORMALITY, _SOURCE)
    return Listing(dataset, tuple(contradictions))


def _images_of_split(root: Path, split: Split, contradictions: list[str]) -> list[LabelledImage]:
    labels = _study_labels(root / f"{split}_labeled_studies.csv", split, contradictions)
    images = []
    for where, fields in read_rows(root / f"{split}_image_paths.csv"):
        name = _path_in_mura(fields[0], split, 5, where)
        study = name.parent
        if study not in labels:
            raise invalid_data(f"{where}: study {study} has no label in {split}_labeled_studies.csv")
        images.append(
            LabelledImage(
                path=root / name,
                name=str(name),
                label=labels[study],
                part=_part(name, where),
                group=name.parts[2],
                study=str(study),
                split=split,
            )
        )
    empty = labels.keys() - {PurePosixPath(image.name).parent for image in images}
    if empty:
        contradictions.append(
            f"{split}_image_paths.csv: no image of {len(empty)} labelled studies, first {min(empty)}"
        )
    return images


def _study_labels(path: Path, split: Split, contradictions: list[str]) -> Mapping[PurePosixPath, int]:
    labels: dict[PurePosixPath, int] = {}
    for where, fields in read_rows(path):
        if len(fields) != 2:
            raise invalid_data(f"{where}: {len(fields)} fields, expected a study folder and its label")
        study, label = _path_in_mura(fields[0], split, 4, where), parse_flag(fields[1], "label", where)
        if study in labels:
            raise invalid_data(f"{where}: study {study} is labelled twice, expected once")
        if not study.name.endswith(("_negative", "_positive")[label]):
            contradictions.append(f"{where}: label {label} contradicts the study's folder {study}")
        labels[study] = label
    return labels


def _path_in_mura(text: str, split: Split, depth: int, where: str) -> PurePosixPath:
    """Path of ``depth`` parts from the split's folder on: what comes before varies."""
    path = PurePosixPath(*PurePosixPath(text).parts[-depth:])
    if len(path.parts) != depth or path.parts[0] != split or ".." in path.parts:
        tail = "/image1.png" if depth == 5 else "/"
        raise invalid_data(
            f"{where}: '{text}', expected a path such as "
            f"MURA-v1.1/{split}/XR_ELBOW/patient00011/study1_negative{tail}"
        )
    return path


def _part(name: PurePosixPath, where: str) -> str:
    folder = name.parts[1]
    part = folder.removeprefix("XR_").lower()
    if part not in MURA_PARTS:
        expected = ", ".join(f"XR_{name.upper()}" for name in MURA_PARTS)
        raise invalid_data(f"{where}: unknown part '{folder}', expected one of {expected}")
    return part
