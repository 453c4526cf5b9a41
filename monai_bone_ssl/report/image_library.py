"""Image library of a report: TID 1600 of DICOM PS3.16.

highdicom's own library fails for a radiograph without Patient Orientation or Imager Pixel Spacing.
https://dicom.nema.org/medical/dicom/current/output/chtml/part16/chapter_A.html#sect_TID_1600
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

__all__ = ["image_library"]


def image_library(headers: Sequence[Dataset]) -> ContainerContentItem:
    """List the images of a report with modality and size.

    Parameters
    ----------
    headers
        Headers of the images, each with UIDs, Rows and Columns.
    """
    group = ContainerContentItem(
        name=codes.DCM.ImageLibraryGroup, relationship_type=RelationshipTypeValues.CONTAINS
    )
    group.ContentSequence = ContentSequence([_image_library_entry(header) for header in headers])
    library = ContainerContentItem(
        name=codes.DCM.ImageLibrary, relationship_type=RelationshipTypeValues.CONTAINS
    )
    library.ContentSequence = ContentSequence([group])
    return library


_MODALITIES = {code.value: code for code in (getattr(codes.cid29, keyword) for keyword in codes.cid29.dir())}
_PIXELS = Code("{pixels}", "UCUM", "Pixels")


def _image_library_entry(header: Dataset) -> ImageContentItem:
    """Entry of an image (TID 1601) with the descriptors of TID 1602 that every image has."""
    acquisition = RelationshipTypeValues.HAS_ACQ_CONTEXT
    modality = _MODALITIES.get(header.get("Modality", ""), codes.cid29.RadiographicImaging)
    entry = ImageContentItem(
        name=Code("260753009", "SCT", "Source"),
        referenced_sop_class_uid=header.SOPClassUID,
        referenced_sop_instance_uid=header.SOPInstanceUID,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    entry.ContentSequence = ContentSequence(
        [
            CodeContentItem(codes.DCM.Modality, modality, acquisition),
            NumContentItem(codes.DCM.PixelDataRows, header.Rows, _PIXELS, relationship_type=acquisition),
            NumContentItem(
                codes.DCM.PixelDataColumns, header.Columns, _PIXELS, relationship_type=acquisition
            ),
        ]
    )
    return entry
