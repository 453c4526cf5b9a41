"""Places in an image as spatial coordinates (SCOORD) of a report.

SCOORD counts (column, row) from the top left corner of the image's first pixel (DICOM PS3.3 section C.18.6),
as :class:`~monai_bone_ssl.findings.PixelBox` does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from highdicom.sr import (
    CoordinatesForMeasurement,
    GraphicTypeValues,
    ImageRegion,
    SourceImageForRegion,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from monai_bone_ssl.findings import PixelBox

__all__ = ["image_region", "measured_along", "rectangle", "whole_image"]


def rectangle(box: PixelBox) -> npt.NDArray[np.float64]:
    """Corners [5, 2] of a rectangle as a closed polyline."""
    left, top, right, bottom = box.left, box.top, box.right, box.bottom
    return np.array(
        [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], dtype=np.float64
    )


def whole_image(header: Dataset) -> npt.NDArray[np.float64]:
    """Border [5, 2] of an image as a closed polyline."""
    return rectangle(PixelBox(0, 0, header.Rows, header.Columns))


def measured_along(
    points: npt.NDArray[np.float64], header: Dataset, purpose: Code = codes.DCM.SourceOfMeasurement
) -> CoordinatesForMeasurement:
    """Place that a number is inferred from (TID 300).

    Parameters
    ----------
    points
        Points [n, 2] of a polyline.
    header
        Header of the image that they lie in.
    purpose
        Purpose of the place for the number.
    """
    return CoordinatesForMeasurement(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=points,
        source_image=SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID),
        purpose=purpose,
    )


def image_region(points: npt.NDArray[np.float64], header: Dataset) -> ImageRegion:
    """Place that a measurement group is about (TID 1410): a point [1, 2] or a polyline [n, 2]."""
    return ImageRegion(
        graphic_type=GraphicTypeValues.POINT if len(points) == 1 else GraphicTypeValues.POLYLINE,
        graphic_data=points,
        source_image=SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID),
    )
