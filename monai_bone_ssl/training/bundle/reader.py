"""Radiographs for MONAI's LoadImage: DICOM as the core reads it, PNG and JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from monai.config.type_definitions import PathLike
from monai.data.image_reader import ImageReader
from monai.utils.misc import ensure_tuple

from monai_bone_ssl.dicom.collimation import ExposedField
from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import ReasonCode, UnsupportedImage
from monai_bone_ssl.model.exposed_field import exposed_field
from monai_bone_ssl.training.data import read_exposed

__all__ = [
    "BODY_PART",
    "FIELD_OUTLINES",
    "SOURCE_SHAPE",
    "Picture",
    "RadiographReader",
    "is_picture",
    "read_picture",
]

#: Metadata key: Body Part Examined as the header states it; empty text where it is not stated.
BODY_PART = "body_part_examined"

#: Metadata key: rows and columns of the file's image.
SOURCE_SHAPE = "source_shape"

#: Metadata key: outlines of the exposed field in source pixels, see
#: :class:`~monai_bone_ssl.dicom.collimation.ExposedField`.
FIELD_OUTLINES = "field_outlines"

_PICTURES = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True, eq=False)
class Picture:
    """The pixels of a file, their exposed field, and the body part that the header states."""

    pixels: npt.NDArray[np.float32]
    """Grey levels [H, W], 0 to 1, bright = dense."""
    field: ExposedField
    """Exposed field."""
    body_part_examined: str | None = None
    """Body Part Examined; None where the header states none, or the file has no header."""


def is_picture(path: Path) -> bool:
    """Whether a file is PNG or JPEG, by the suffix; any other file is taken for DICOM."""
    return path.suffix.lower() in _PICTURES


def read_picture(path: Path) -> Picture:
    """Read a radiograph.

    Raises
    ------
    UnsupportedImage, CorruptImage
        If the file is not a radiograph, or cannot be read; with the core's reason code.
    """
    if is_picture(path):
        return Picture(*read_exposed(path))
    radiograph = read_radiograph(path)
    field = exposed_field(radiograph.pixels, radiograph.declared_field, notes=[])
    return Picture(radiograph.pixels, field, radiograph.anatomy)


class RadiographReader(ImageReader):
    """Reader for :class:`monai.transforms.LoadImage`.

    Arrays are [rows, columns], as everywhere in this package; MONAI's own reader of pictures transposes.
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """True for a single file of any name: DICOM files may have any suffix, or none."""
        return len(ensure_tuple(filename)) == 1

    def read(self, data: Sequence[PathLike] | PathLike, **_: object) -> Picture:
        """Read one file.

        Raises
        ------
        UnsupportedImage
            If there are several files: a radiograph is one image.
        """
        paths = ensure_tuple(data)
        if len(paths) != 1:
            raise UnsupportedImage(ReasonCode.MULTI_FRAME, f"{len(paths)} files: expected one radiograph")
        return read_picture(Path(paths[0]))

    def get_data(self, img: Picture) -> tuple[npt.NDArray[np.float32], dict[str, object]]:
        """Pixels [H, W] and metadata."""
        meta: dict[str, object] = {
            BODY_PART: img.body_part_examined or "",
            SOURCE_SHAPE: np.array(img.pixels.shape),
            FIELD_OUTLINES: list(img.field.outlines),
            "spatial_shape": np.array(img.pixels.shape),
            "original_channel_dim": "no_channel",
        }
        return img.pixels, meta
