"""The images of one or several sources, and what is to be known of how they were taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.data.unlabelled import UnlabelledImage, list_images

__all__ = ["ImageSources", "read_sources"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImageSources:
    """Images of several sources as one list."""

    names: tuple[str, ...]
    """Of the sources."""
    images: tuple[UnlabelledImage, ...]
    source_of: tuple[int, ...]
    """Number of each image's source."""

    @property
    def paths(self) -> list[Path]:
        """Of the images."""
        return [image.path for image in self.images]

    def by_source(self, usable: IntArray) -> list[IntArray]:
        """The usable images' indices, those of each source that has any."""
        numbers = np.array(self.source_of)[usable]
        return [usable[numbers == number] for number in np.unique(numbers)]

    def study_partners(self, usable: IntArray) -> dict[int, IntArray]:
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
    """List the images of every source; see :func:`~monai_bone_ssl.training.data.unlabelled.list_images`.

    Raises
    ------
    ConfigError
        If a source is not what was expected, or is given twice.
    """
    resolved = [path.resolve() for path in paths]
    for path in resolved:
        if resolved.count(path) > 1:
            raise ConfigError(ReasonCode.INVALID_DATA, f"{path.name}: given twice, expected each source once")
    listed = [list_images(path) for path in paths]
    return ImageSources(
        names=tuple(name for name, _ in listed),
        images=tuple(image for _, images in listed for image in images),
        source_of=tuple(number for number, (_, images) in enumerate(listed) for _ in images),
    )
