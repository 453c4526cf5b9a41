"""The images of a run, checked before the long work starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from monai_bone_ssl.dicom.collect import Source, find_files, group_by_study
from monai_bone_ssl.errors import BoneSSLError, ConfigError, ReasonCode, UnsupportedImage
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.threads import available_cores, map_in_order
from monai_bone_ssl.training.bundle.reader import is_picture, read_picture
from monai_bone_ssl.training.bundle.result import ImageResult
from monai_bone_ssl.training.data import LabelledDataset, load_dataset, read_grey

__all__ = ["FoundImages", "as_items", "check_labelled", "find_radiographs", "held_out"]

_File = TypeVar("_File", Source, Path)
_Outcome = TypeVar("_Outcome")


@dataclass(frozen=True)
class FoundImages:
    """The files of a folder: images for the network, and files that are refused."""

    images: Sequence[Path]
    """Files that the network takes."""
    refused: Sequence[ImageResult]
    """Results of the other files, with the reason why the network does not take them."""


def find_radiographs(folder: str, output_dir: str, spec: ModelSpec) -> FoundImages:
    """Find and check every file in a folder and the folders below it.

    A file that cannot be read stops the run here, before the network starts. A file that is read and is not
    a radiograph of one grey frame (a report, a CT slice, a colour photograph) is refused with a reason, as in
    an analysis. PNG and JPEG files have no header, so that neither patient nor body part can be checked.

    Parameters
    ----------
    folder
        Folder of DICOM, PNG or JPEG files.
    output_dir
        Folder for the outcome; files in it are left out.
    spec
        Content of model.json.

    Raises
    ------
    ConfigError
        If there is no such folder, or no radiograph in it.
    BoneSSLError
        If a file cannot be read; the text names the file.
    """
    root = _existing_folder(folder)
    found = find_files([root], Path(output_dir))
    pictures = [source for source in found if is_picture(source.path)]
    others = [source for source in found if not is_picture(source.path)]
    sources = [*pictures, *(s for study in group_by_study(others) for s in study.sources)]
    refused = _for_each(sources, partial(_look, spec=spec))
    images = [source.path for source, error in zip(sources, refused, strict=True) if error is None]
    if not images:
        text = f"{folder}: no radiograph among {len(sources)} files, expected DICOM, PNG or JPEG images"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    return FoundImages(images, [result for result in refused if result is not None])


def _look(source: Source, spec: ModelSpec) -> ImageResult | None:
    """Result with the reason why the network does not take a file; None where it does."""
    try:
        if source.error is not None:
            raise source.error
        picture = read_picture(source.path)
        preprocess(picture.pixels, spec.preprocessing, picture.field)
    except UnsupportedImage as error:
        return ImageResult.refused(str(source.path), error)
    except BoneSSLError as error:
        raise _naming(source.path, error) from error
    return None


def held_out(folder: str) -> LabelledDataset:
    """Labelled images to evaluate on, each of which can be read.

    Parameters
    ----------
    folder
        Labelled radiographs, see :func:`~monai_bone_ssl.training.data.load_dataset`.

    Raises
    ------
    ConfigError
        If the data are not as expected.
    BoneSSLError
        If an image cannot be read, or has colours; the text names the image.
    """
    dataset = load_dataset(Path(folder)).held_out()
    _require_readable(dataset)
    return dataset


def check_labelled(folder: str) -> None:
    """Read every training image once, so that a fit does not stop half way.

    Parameters
    ----------
    folder
        Labelled radiographs, see :func:`held_out`.

    Raises
    ------
    ConfigError, BoneSSLError
        See :func:`held_out`.
    """
    _require_readable(load_dataset(Path(folder)).training())


def as_items(paths: Iterable[Path]) -> list[dict[str, str]]:
    """The dictionary of each image, as MONAI's datasets take them."""
    return [{"image": str(path)} for path in paths]


def _require_readable(dataset: LabelledDataset) -> None:
    _for_each(dataset.paths, _read)


def _read(path: Path) -> None:
    try:
        read_grey(path)
    except BoneSSLError as error:
        raise _naming(path, error) from error


def _for_each(files: Sequence[_File], check: Callable[[_File], _Outcome]) -> list[_Outcome]:
    """The outcome of ``check`` for each file, in order; the first error is raised."""
    outcomes = map_in_order(check, files, available_cores())
    return list(tqdm(outcomes, "checking images", len(files), unit="image", leave=False))


def _naming(path: Path, error: BoneSSLError) -> BoneSSLError:
    """A copy of an error with the path in the text."""
    text = error.text.removeprefix(f"{path.name}: ")
    return type(error)(error.code, f"{path}: {text}")


def _existing_folder(folder: str) -> Path:
    root = Path(folder)
    if not root.is_dir():
        text = f"{folder}: no such folder, expected one with DICOM, PNG or JPEG images"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    return root
