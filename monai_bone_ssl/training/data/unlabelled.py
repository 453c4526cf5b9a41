"""Images to pre-train on: what self-supervised learning may know of them, and never a label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from monai_bone_ssl.errors import ConfigError, CorruptImage, ReasonCode
from monai_bone_ssl.training.data.dicom_tree import digest, read_radiograph_header
from monai_bone_ssl.training.data.folder import image_files
from monai_bone_ssl.training.data.kinds import is_labelled, load_dataset
from monai_bone_ssl.training.data.pixels import is_dicom
from monai_bone_ssl.training.data.wrong_path import unknown_data

__all__ = ["UnlabelledImage", "list_images"]

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class UnlabelledImage:
    """One radiograph without its label. MURA's folder names spell the label: only ``path`` repeats them."""

    path: Path
    """The file: PNG, JPEG or DICOM."""
    part: str | None
    """Body part; None where nobody says."""
    group: str | None
    """Digest of what must never be split, the patient or a stand-in; unique within its source."""
    study: str | None
    """Digest of the study; unique within its source."""


def list_images(path: Path) -> tuple[str, tuple[UnlabelledImage, ...]]:
    """Radiographs to learn from without labels.

    Parameters
    ----------
    path
        Whatever :func:`~monai_bone_ssl.training.data.load_dataset` reads, or any other folder: then all PNG
        and JPEG files and DICOM radiographs under it, hidden ones left out.

    Returns
    -------
    name
        Of the source.
    images
        Of labelled data those of the training split (all, where no splits are stated). In other folders only
        DICOM files say part, patient and study. That a file exists is sure, that it can be decoded is not.

    Raises
    ------
    ConfigError
        With code ``invalid_data`` where there is no image, or labelled data contradict themselves.
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
        raise unknown_data(root, is_labelled)
    name = root.resolve().name
    found = (_describe(file) for file in tqdm(image_files(root), desc=name, unit="file"))
    images = tuple(image for image in found if image is not None)
    if not images:
        raise ConfigError(
            ReasonCode.INVALID_DATA, f"{name}: no image in it, expected PNG, JPEG or DICOM radiographs"
        )
    return name, images


def _describe(file: Path) -> UnlabelledImage | None:
    """A file as an image; None where it is none."""
    if is_dicom(file):
        try:
            radiograph = read_radiograph_header(file)
        except CorruptImage:  # whoever reads the pixels says so
            return UnlabelledImage(file, None, None, None)
        if radiograph is None:
            return None
        return UnlabelledImage(file, radiograph.part, radiograph.group, radiograph.study)
    return UnlabelledImage(file, None, None, None) if file.suffix.lower() in _SUFFIXES else None
