"""Labelled radiographs, whatever kind of data they come from, and their splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.body_parts import Part
from monai_bone_ssl.findings import Region, Target
from monai_bone_ssl.training.data.tables import Split, invalid_data

__all__ = [
    "AnnotatedBox",
    "DataSource",
    "LabelledDataset",
    "LabelledImage",
    "Listing",
    "check_images",
]


@dataclass(frozen=True)
class AnnotatedBox:
    """One outlined finding; edges in pixels of the image, in [0, columns] x [0, rows]."""

    x: float
    """Left edge."""
    y: float
    """Upper edge."""
    width: float
    """Number of columns."""
    height: float
    """Number of rows."""
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    """Closed outlines of (x, y) corners; empty where only the box is known."""

    def contains(self, row: int, column: int) -> bool:
        """Whether the centre of a pixel lies in the box."""
        return self.x <= column + 0.5 < self.x + self.width and self.y <= row + 0.5 < self.y + self.height

    def is_hit_by(self, region: Region) -> bool:
        """Whether the centre of a region lies in the box, as readers use a mark."""
        x, y = region.column + region.width / 2, region.row + region.height / 2
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


@dataclass(frozen=True)
class LabelledImage:
    """One radiograph with its label."""

    path: Path
    """Image file: PNG, JPEG or DICOM."""
    name: str
    """Path as the list gives it."""
    label: int
    """1 where the target is present, else 0."""
    part: str
    """Body part, a key of :attr:`LabelledDataset.known_parts` or ``mixed``."""
    group: str
    """Patient, or the stand-in for one: images of one group must never be split."""
    study: str | None = None
    """Study, unique within the data; None where the list states none."""
    split: Split | None = None
    """Split that the data come with; None where they state none."""
    hardware: bool | None = None
    """Whether implants or fixation are visible; None where nobody noted it."""
    boxes: tuple[AnnotatedBox, ...] = ()
    """Outlined findings; empty where nobody outlined any."""
    acquisition: str | None = None
    """Acquisition range: images taken alike, such as those of one site, device or period; None where the list
    states none."""


@dataclass(frozen=True)
class DataSource:
    """Where labelled data come from, for the model card."""

    name: str
    """Name of the data set, or of the folder and list."""
    licence: str
    """Terms of use."""
    reference: str
    """Publication, or who gave the data."""
    public_names: bool = False
    """Whether the images' names are public, and so may be shown beside similar cases; a hospital's own list
    may name patients in them."""


@dataclass(frozen=True, eq=False)
class LabelledDataset:
    """Labelled radiographs with the meaning of their parts and of their label."""

    images: tuple[LabelledImage, ...]
    """Images in the order of the list."""
    known_parts: Mapping[str, Part]
    """Body parts by name, without ``mixed``, which is no single part."""
    target: Target
    """Meaning of label 1."""
    source: DataSource
    """Where the data come from."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def paths(self) -> list[Path]:
        """Image files [n]."""
        return [image.path for image in self.images]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels [n], 0 or 1."""
        return np.array([image.label for image in self.images], dtype=np.int64)

    @property
    def parts(self) -> NDArray[np.str_]:
        """Part names [n]."""
        return np.array([image.part for image in self.images], dtype=np.str_)

    @property
    def groups(self) -> NDArray[np.str_]:
        """Groups [n] that must never be split."""
        return np.array([image.group for image in self.images], dtype=np.str_)

    @property
    def ranges(self) -> NDArray[np.str_] | None:
        """Acquisition ranges [n]; None where some image has none, or all have the same one."""
        ranges = [image.acquisition for image in self.images]
        if None in ranges or len(set(ranges)) < 2:
            return None
        return np.array(ranges, dtype=np.str_)

    @property
    def cells(self) -> NDArray[np.str_] | None:
        """Cells [n], the images of one acquisition range and body part; None where there are no ranges."""
        if self.ranges is None:
            return None
        return np.array([f"{image.acquisition} {image.part}" for image in self.images], dtype=np.str_)

    def take(self, indices: NDArray[np.int64]) -> LabelledDataset:
        """The images at ``indices``, in that order."""
        return replace(self, images=tuple(self.images[i] for i in indices))

    def training(self) -> LabelledDataset:
        """The images to learn from: the ``train`` split where the list states splits, else all."""
        return self._of_split("train")

    def held_out(self) -> LabelledDataset:
        """The images to evaluate on: the ``valid`` split where the list states splits, else all."""
        return self._of_split("valid")

    def _of_split(self, split: Split) -> LabelledDataset:
        if all(image.split is None for image in self.images):
            return self
        return replace(self, images=tuple(image for image in self.images if image.split == split))


class Listing(NamedTuple):
    """Labelled data as their lists have them, not yet held against the files."""

    dataset: LabelledDataset
    """All images that the lists name."""
    contradictions: tuple[str, ...] = ()
    """Contradictions in the lists, one line each: a reason to refuse them."""


def check_images(images: Sequence[LabelledImage], listing: str) -> None:
    """Refuse a list that is empty, repeats an image, leaks a patient or names files that do not exist.

    Parameters
    ----------
    images
        Images as listed.
    listing
        Name of the list or folder, for the error.

    Raises
    ------
    ConfigError
        For the first fault. Patients are not named, an image of theirs is.
    """
    if not images:
        raise invalid_data(f"{listing}: no images listed, expected at least one")
    name, times = Counter(image.name for image in images).most_common(1)[0]
    if times > 1:
        raise invalid_data(f"{listing}: {name} is listed {times} times, expected once")
    leaked = _groups_in_both_splits(images)
    if leaked:
        first = next(image.name for image in images if image.group in leaked)
        raise invalid_data(
            f"{listing}: {len(leaked)} patient(s) in both train and valid, the first with {first}; "
            "expected each patient in one split only"
        )
    missing = [image.name for image in images if not image.path.is_file()]
    if missing:
        raise invalid_data(
            f"{listing}: {len(missing)} of {len(images)} image files missing, first {missing[0]}"
        )


def _groups_in_both_splits(images: Sequence[LabelledImage]) -> set[str]:
    in_train = {image.group for image in images if image.split == "train"}
    return in_train & {image.group for image in images if image.split == "valid"}
