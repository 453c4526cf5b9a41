"""Evidence of one image as DICOM objects a PACS shows: Secondary Capture and Segmentation.

Both are optional companions of the report, with the source's patient and study, UIDs that depend on nothing
but the image and the algorithm, and a reference to the image. What a header lacks is not invented: without
Laterality and Patient Orientation there is no Secondary Capture, without Patient Orientation no Segmentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence, CoordinateSystemNames, PhotometricInterpretationValues
from highdicom.sc import ConversionTypeValues, SCImage
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from PIL import Image
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM

from monai_bone_ssl.dicom.patient import patient_key
from monai_bone_ssl.dicom.radiograph import laterality
from monai_bone_ssl.dicom.uids import derived_uid
from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.report.content import Algorithm
from monai_bone_ssl.report.derived_object import (
    UIDS,
    contributing_equipment,
    copy_patient_and_study,
    set_time,
    without_patient,
    write_object,
)

__all__ = [
    "EvidenceKind",
    "check_same_patient",
    "evidence_mask",
    "secondary_capture",
    "segmentation",
    "write_evidence",
]

# After the report's, far from the numbers a modality gives its own series.
_CAPTURE_SERIES, _SEGMENTATION_SERIES = 9002, 9003
_PLACEHOLDER_ORIENTATION = ("L", "F")


class EvidenceKind(StrEnum):
    """Kinds of objects that show evidence."""

    SC = "sc"
    """Secondary Capture: the picture with the evidence map."""
    SEG = "seg"
    """Segmentation: patches whose evidence reaches the point ``possible``; OHIF fails on a radiograph's."""


def evidence_mask(
    evidence: npt.NDArray[np.float32], possible: float, shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """Pixels of the patches whose evidence reaches an operating point.

    Parameters
    ----------
    evidence
        Probability of each patch that it shows the target [h, w], 0 to 1; the patches cover the image from
        edge to edge.
    possible
        Smallest probability, 0 to 1, that counts (``ModelSpec.patch_probe.possible``).
    shape
        Rows and columns of the image.

    Returns
    -------
    Mask [rows, columns].
    """
    rows = np.arange(shape[0]) * evidence.shape[0] // shape[0]
    columns = np.arange(shape[1]) * evidence.shape[1] // shape[1]
    return np.asarray((evidence >= possible)[np.ix_(rows, columns)])


def secondary_capture(
    picture: Image.Image, header: Dataset, algorithm: Algorithm, number: int, created: datetime
) -> SCImage:
    """The overlay picture of one image, for viewers that show nothing else.

    Parameters
    ----------
    picture
        Overlay by :func:`monai_bone_ssl.show.overlay.draw_overlay`.
    header
        Header of the source image.
    algorithm
        The model and the software around it.
    number
        Instance number in the series, from 1.
    created
        Time of the object; the UIDs do not depend on it.

    Raises
    ------
    ReportError
        ``MISSING_IDENTIFIER`` where the header has no laterality or no Patient Orientation.
    """
    orientation = _patient_orientation(header, "Secondary Capture")
    capture = SCImage(
        pixel_array=np.asarray(picture.convert("RGB")),
        photometric_interpretation=PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=CoordinateSystemNames.PATIENT,
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=_series_uid("capture", header, algorithm),
        series_number=_CAPTURE_SERIES,
        sop_instance_uid=_instance_uid("capture", header, algorithm),
        instance_number=number,
        manufacturer=algorithm.manufacturer,
        laterality=_laterality(header),
        # Replaced below: highdicom knows fewer values than a modality may send.
        patient_orientation=_PLACEHOLDER_ORIENTATION,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        contributing_equipment=[contributing_equipment(algorithm)],
    )
    capture.PatientOrientation = orientation
    capture.ConversionType = ConversionTypeValues.WSD.value
    capture.SpecificCharacterSet = "ISO_IR 192"
    capture.SeriesDescription = "Evidence map (AI, unverified)"
    capture.ManufacturerModelName = algorithm.model_name
    capture.SoftwareVersions = algorithm.software_version
    capture.DateOfSecondaryCapture = DA(created.date())
    capture.TimeOfSecondaryCapture = TM(created.time())
    capture.DerivationDescription = "Radiograph, and beside it the probability of each patch in colour"
    capture.SourceImageSequence = [_source_item(header)]
    if header.get("BurnedInAnnotation") in ("YES", "NO"):  # what the radiograph has, its picture has too
        capture.BurnedInAnnotation = header.BurnedInAnnotation
    copy_patient_and_study(capture, header)
    set_time(capture, created)
    return capture


def segmentation(
    mask: npt.NDArray[np.bool_],
    header: Dataset,
    target_name: str,
    algorithm: Algorithm,
    number: int,
    created: datetime,
) -> Segmentation | None:
    """The patches that may show the target as a binary segment on the image itself.

    Parameters
    ----------
    mask
        Mask by :func:`evidence_mask`, of the source image's size.
    header
        Header of the source image.
    target_name
        Name of the condition that the patches may show, such as ``fracture``.
    algorithm
        The model and the software around it.
    number
        Instance number in the series, from 1.
    created
        Time of the object; the UIDs do not depend on it.

    Returns
    -------
    highdicom.seg.Segmentation or None
        The segment; None for an empty mask, for an empty segment says less than no object.

    Raises
    ------
    ReportError
        ``MISSING_IDENTIFIER`` where the header has no Patient Orientation.
    """
    orientation = _patient_orientation(header, "Segmentation")
    if not mask.any():
        return None
    source = without_patient(header, (*UIDS, "Rows", "Columns"))
    source.PatientOrientation = orientation
    segment = Segmentation(
        source_images=[source],
        pixel_array=mask.astype(np.uint8)[None],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(target_name, algorithm)],
        series_instance_uid=_series_uid("segmentation", header, algorithm),
        series_number=_SEGMENTATION_SERIES,
        sop_instance_uid=_instance_uid("segmentation", header, algorithm),
        instance_number=number,
        manufacturer=algorithm.manufacturer,
        manufacturer_model_name=algorithm.model_name,
        software_versions=algorithm.software_version,
        device_serial_number=algorithm.fingerprint[:16],
        content_description=f"Patches that may show {target_name}",
        content_label="EVIDENCE",
        series_description="Evidence patches (AI, unverified)",
        contributing_equipment=[contributing_equipment(algorithm)],
    )
    segment.SpecificCharacterSet = "ISO_IR 192"
    segment.PatientOrientation = orientation
    segment.ContentDate, segment.ContentTime = DA(created.date()), TM(created.time())
    copy_patient_and_study(segment, header)
    set_time(segment, created)
    return segment


def write_evidence(objects: Sequence[SCImage | Segmentation], folder: Path) -> list[Path]:
    """Write objects as ``SC_<UID>.dcm`` and ``SEG_<UID>.dcm``, each whole or not at all.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where the file system refuses.
    """
    return [write_object(o, "SC" if isinstance(o, SCImage) else "SEG", folder) for o in objects]


def _segment(target_name: str, algorithm: Algorithm) -> SegmentDescription:
    # The segment is a place in the picture, no anatomy and no lesion: the evidence explains the answer only.
    return SegmentDescription(
        segment_number=1,
        segment_label=f"Evidence for {target_name}",
        segmented_property_category=codes.cid7150.SpatialAndRelationalConcept,
        segmented_property_type=codes.DCM.SelectedRegion,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=algorithm.model_name,
            version=algorithm.model_version,
            family=codes.DCM.ArtificialIntelligence,
        ),
    )


def _patient_orientation(header: Dataset, what: str) -> list[str]:
    values = [str(value) for value in header.get("PatientOrientation") or []]
    if len(values) != 2 or not all(re.fullmatch("[A-Z]{1,16}", value) for value in values):
        raise _missing(header, "Patient Orientation", what)
    return values


def _laterality(header: Dataset) -> str:
    side = laterality(header)
    if side not in ("L", "R"):
        raise _missing(header, "Laterality", "Secondary Capture")
    return side


def _missing(header: Dataset, attribute: str, what: str) -> ReportError:
    text = f"image {header.SOPInstanceUID}: has no {attribute}, which a {what} of it needs"
    return ReportError(ReasonCode.MISSING_IDENTIFIER, text)


def _source_item(header: Dataset) -> Dataset:
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def _series_uid(role: str, header: Dataset, algorithm: Algorithm) -> str:
    identity = (header.StudyInstanceUID, algorithm.fingerprint, algorithm.software_version)
    return derived_uid(f"{role} series", *identity)


def _instance_uid(role: str, header: Dataset, algorithm: Algorithm) -> str:
    return derived_uid(role, header.SOPInstanceUID, algorithm.fingerprint, algorithm.software_version)


def check_same_patient(report: Dataset, evidence: Sequence[Dataset]) -> None:
    """Refuse evidence that is not of the report's study and patient.

    Raises
    ------
    ReportError
        ``REPORT_FAILED`` where an object is of another study or patient.
    """
    patient = patient_key(report)
    for item in evidence:
        if item.StudyInstanceUID != report.StudyInstanceUID or patient_key(item) != patient:
            text = f"study {report.StudyInstanceUID}: an evidence object of another study or patient"
            raise ReportError(ReasonCode.REPORT_FAILED, text)
