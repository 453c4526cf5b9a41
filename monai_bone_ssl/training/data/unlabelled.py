"""Images to pre-train on: what self-supervised learning may know of them, and never a label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_bone_ssl.errors import CorruptImage
from monai_bone_ssl.training.data.dicom_tree import digest, read_radiograph_header
from monai_bone_ssl.training.data.image_files import image_files, is_dicom
from monai_bone_ssl.training.data.kinds import is_labelled, load_dataset, unknown_data
from monai_bone_ssl.training.data.tables import invalid_data

__all__ = ["ImageSources", "UnlabelledImage", "list_images", "read_sources"]

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class UnlabelledImage:
    """One radiograph without its label. MURA's folder names spell the label: only ``path`` repeats them."""

    path: Path
    """Image file: PNG, JPEG or DICOM."""
    part: str | None
    """Body part; None where nobody says."""
    group: str | None
    """Digest of what must never be split, the patient or a stand-in; unique within its source."""
    study: str | None
    """Digest of the study; unique within its source."""


@dataclass(frozen=True, eq=False)
class ImageSources:
    """Images of several sources as one list."""

    names: tuple[str, ...]
    """Names of the sources."""
    images: tuple[UnlabelledImage, ...]
    """Images of all sources, source by source."""
    source_of: tuple[int, ...]
    """Number of each image's source, from 0."""

    @property
    def paths(self) -> list[Path]:
        """Files of the images."""
        return [image.path for image in self.images]

    def by_source(self, usable: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The usable images' indices, those of each source that has any."""
        numbers = np.array(self.source_of)[usable]
        return [usable[numbers == number] for number in np.unique(numbers)]

    def study_partners(self, usable: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
        """For each image of a study with several usable images: the indices of the others."""
        studies: dict[tuple[int, str], list[int]] = defaultdict(list)
        for index in usable.tolist():
            study = self.images[index].study
            if study is not None:
                studies[self.source_of[index], study].append(index)
        return {
            index: np.array([other for other in members if other != index])
            for members in studies.values()
            if len(members) > 1
            for index in members
        }


def read_sources(paths: Sequence[Path]) -> ImageSources:
    """List the images of every source.

    Parameters
    ----------
    paths
        Sources, see :func:`list_images`.

    Raises
    ------
    ConfigError
        If a source is not what was expected, or is given twice.
    """
    resolved = [path.resolve() for path in paths]
    for path in resolved:
        if resolved.count(path) > 1:
            raise invalid_data(f"{path.name}: given twice, expected each source once")
    sources = [list_images(path) for path in paths]
    return ImageSources(
        names=tuple(name for name, _ in sources),
        images=tuple(image for _, images in sources for image in images),
        source_of=tuple(number for number, (_, images) in enumerate(sources) for _ in images),
    )


def list_images(path: Path) -> tuple[str, tuple[UnlabelledImage, ...]]:
    """Radiographs to learn from without labels.

    Parameters
    ----------
    path
        Labelled data of a kind that :func:`~monai_bone_ssl.training.data.load_dataset` reads, or any other
        folder: then all PNG and JPEG files and DICOM radiographs under it, hidden ones left out.

    Returns
    -------
    name
        Name of the source.
    images
        Images of labelled data's training split (all, where no splits are stated). In other folders only
        DICOM files say part, patient and study. That a file exists is sure, that it can be decoded is not.

    Raises
    ------
    ConfigError
        Where there is no image, or labelled data contradict themselves.
    """
    if not is_labelled(path):
        return _images_of_folder(path)
    dataset = load_dataset(path)
    images = tuple(
        UnlabelledImage(image.path, image.part, digest(image.group), image.study and digest(image.study))
        for image in dataset.training().images
    )
    return dataset.source.name, images


def _images_of_folder(root: Path) -> tuple[str, tuple[UnlabelledImage, ...]]:
    if not root.is_dir():
        raise unknown_data(root)
    name = root.resolve().name
    described = (_describe(file) for file in tqdm(image_files(root), desc=name, unit="file"))
    images = tuple(image for image in described if image is not None)
    if not images:
        raise invalid_data(f"{name}: no image in it, expected PNG, JPEG or DICOM radiographs")
    return name, images


def _describe(file: Path) -> UnlabelledImage | None:
    """A file as an image; None where it is none."""
    if is_dicom(file):
        try:
            radiograph = read_radiograph_header(file)
        except CorruptImage:  # reading its pixels will say so
            return UnlabelledImage(file, None, None, None)
        if radiograph is None:
            return None
        return UnlabelledImage(file, radiograph.part, radiograph.group, radiograph.study)
    return UnlabelledImage(file, None, None, None) if file.suffix.lower() in _SUFFIXES else None
