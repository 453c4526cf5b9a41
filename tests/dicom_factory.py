"""Synthetic radiographs as DICOM files: CR, DX and XRF objects, in any transfer syntax for still images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset, dcmwrite, uid
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.sr.coding import Code
from pydicom.uid import UID, generate_uid

from monai_bone_ssl.body_parts import ANATOMY

CR = uid.ComputedRadiographyImageStorage
DX = uid.DigitalXRayImageStorageForPresentation
DX_RAW = uid.DigitalXRayImageStorageForProcessing
XRF = uid.XRayRadiofluoroscopicImageStorage

LOSSLESS = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.RLELossless,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
)
LOSSY = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
    uid.HTJ2K,
)


def limb_pixels(
    rows: int = 96, columns: int = 80, bits: int = 12, signed: bool = False, seed: int = 0
) -> NDArray[Any]:
    """[rows, columns] of a bright shaft on a dark ground with a little noise, over the range of ``bits``."""
    y, x = np.mgrid[:rows, :columns]
    shaft = np.exp(-(((x - columns / 2) / (columns / 6)) ** 2)) * (0.7 + 0.3 * y / rows)
    noise = np.random.default_rng(seed).normal(0, 0.01, shaft.shape)
    unit = np.clip(0.05 + 0.9 * shaft + noise, 0, 1)
    values = np.rint(unit * ((1 << bits) - 1)) - (1 << (bits - 1) if signed else 0)
    return values.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")


def make_radiograph(
    path: Path,
    pixels: NDArray[Any],
    *,
    sop_class: UID = CR,
    modality: str | None = None,
    body_part: str = "HAND",
    laterality: str = "R",
    anatomic_region: Code | None = None,
    photometric: str = "MONOCHROME2",
    bits_stored: int | None = None,
    window: tuple[float, float] | None = None,
    voi_function: str | None = None,
    rescale: tuple[float, float] | None = None,
    pixel_spacing: tuple[float, float] | None = None,
    imager_pixel_spacing: tuple[float, float] | None = (0.15, 0.15),
    study_uid: str | None = None,
    series_uid: str | None = None,
    sop_uid: str | None = None,
    patient_id: str = "TEST-0001",
    patient_name: str = "Testperson^Anna",
    transfer_syntax: UID = uid.ExplicitVRLittleEndian,
    edit: Callable[[Dataset], None] | None = None,
) -> Path:
    """Write one radiograph and return its path.

    Parameters
    ----------
    pixels
        [H, W] uint8, int8, uint16 or int16 stored values.
    bits_stored
        By default as few as hold the pixels, and 8 at least.
    anatomic_region
        Code of Anatomic Region Sequence; DX images, which need one, get it from ``body_part``.
    edit
        Changes the data set, uncompressed, before it is encoded and written.
    """
    dataset = Dataset()
    _patient_and_study(dataset, patient_id, patient_name, study_uid)
    _series(dataset, sop_class, modality, series_uid, body_part)
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = sop_uid or generate_uid()
    _image(dataset, pixels, photometric, bits_stored)
    region = anatomic_region or (ANATOMY.get(body_part) if sop_class in (DX, DX_RAW) else None)
    _sop_class_modules(dataset, sop_class, laterality, region)
    _spacing(dataset, pixel_spacing, imager_pixel_spacing)
    _transformations(dataset, window, voi_function, rescale)
    if edit is not None:
        edit(dataset)
    write_radiograph(path, dataset, transfer_syntax)
    return path


def _patient_and_study(dataset: Dataset, patient_id: str, patient_name: str, study_uid: str | None) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = patient_name
    dataset.PatientID = patient_id
    dataset.PatientBirthDate = "19700101"
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = study_uid or generate_uid()
    dataset.StudyDate = "20260102"
    dataset.StudyTime = "030405"
    dataset.StudyID = "1"
    dataset.AccessionNumber = "A1"
    dataset.ReferringPhysicianName = ""


def _series(
    dataset: Dataset, sop_class: UID, modality: str | None, series_uid: str | None, body_part: str
) -> None:
    dataset.Modality = modality or {CR: "CR", XRF: "RF"}.get(sop_class, "DX")
    dataset.SeriesInstanceUID = series_uid or generate_uid()
    dataset.SeriesNumber = 1
    dataset.BodyPartExamined = body_part
    dataset.Manufacturer = "monai_bone_ssl tests"
    dataset.InstanceNumber = 1
    dataset.PatientOrientation = ["L", "F"]
    dataset.ContentDate = "20260102"
    dataset.ContentTime = "030405"
    dataset.AcquisitionNumber = 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]


def _image(dataset: Dataset, pixels: NDArray[Any], photometric: str, bits_stored: int | None) -> None:
    signed = pixels.dtype.kind == "i"
    largest = max(int(pixels.max()), -int(pixels.min()) - 1)
    stored = bits_stored or max(8, largest.bit_length() + signed)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = stored
    dataset.HighBit = stored - 1
    dataset.PixelRepresentation = int(signed)
    dataset["PixelData"] = _pixel_element(pixels)


def _pixel_element(pixels: NDArray[Any]) -> Any:
    holder = Dataset()
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    holder.add_new("PixelData", "OW" if pixels.itemsize == 2 else "OB", data + b"\0" * (len(data) % 2))
    return holder["PixelData"]


def _sop_class_modules(
    dataset: Dataset, sop_class: UID, laterality: str, anatomic_region: Code | None
) -> None:
    if anatomic_region is not None or sop_class in (DX, DX_RAW):
        dataset.AnatomicRegionSequence = [] if anatomic_region is None else [_code_item(anatomic_region)]
    if sop_class == CR:
        dataset.Laterality = laterality
        dataset.ViewPosition = "PA"
    elif sop_class == XRF:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
        dataset.PixelIntensityRelationship = "DISP"
        dataset.RadiationSetting = "SC"
        dataset.KVP = None
        dataset.ExposureTime = None
        dataset.XRayTubeCurrent = None
        dataset.Laterality = laterality
    else:
        _dx_modules(dataset, sop_class, laterality)


def _dx_modules(dataset: Dataset, sop_class: UID, laterality: str) -> None:
    dataset.PresentationIntentType = "FOR PROCESSING" if sop_class == DX_RAW else "FOR PRESENTATION"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.ImageLaterality = laterality
    dataset.AcquisitionDeviceProcessingDescription = "none"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1"
    dataset.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.DetectorType = "DIRECT"
    dataset.AcquisitionContextSequence = []
    if sop_class == DX_RAW:
        return
    half = 1 << (dataset.BitsStored - 1)
    dataset.WindowCenter, dataset.WindowWidth = (0 if dataset.PixelRepresentation else half), 2 * half


def _code_item(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[:3]
    return item


def _spacing(
    dataset: Dataset,
    pixel_spacing: tuple[float, float] | None,
    imager_pixel_spacing: tuple[float, float] | None,
) -> None:
    if pixel_spacing is not None:
        dataset.PixelSpacing = list(pixel_spacing)
        dataset.PixelSpacingCalibrationType = "GEOMETRY"
        dataset.PixelSpacingCalibrationDescription = "test"
    if imager_pixel_spacing is not None:
        dataset.ImagerPixelSpacing = list(imager_pixel_spacing)


def _transformations(
    dataset: Dataset,
    window: tuple[float, float] | None,
    voi_function: str | None,
    rescale: tuple[float, float] | None,
) -> None:
    if rescale is not None:
        dataset.RescaleSlope, dataset.RescaleIntercept = rescale
        dataset.RescaleType = "US"
    if window is not None:
        dataset.WindowCenter, dataset.WindowWidth = window
    if voi_function is not None:
        dataset.VOILUTFunction = voi_function


def lut_item(entries: list[int], first: int, bits: int, signed: bool = False) -> Dataset:
    """Return an item of a Modality or VOI LUT Sequence, entries as 16-bit words."""
    item = Dataset()
    descriptor = [len(entries) % 65536, first, bits]
    item.add_new("LUTDescriptor", "SS" if signed else "US", descriptor)
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    item.LUTExplanation = "test"
    return item


def write_radiograph(path: Path, dataset: Dataset, transfer_syntax: UID) -> None:
    """Encode an uncompressed data set into a transfer syntax and write it with its file meta information."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID") or CR
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or generate_uid()
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    dataset.file_meta.ImplementationClassUID = uid.PYDICOM_IMPLEMENTATION_UID
    if transfer_syntax.is_encapsulated and "PixelData" in dataset:
        frame = encode_frame(_stored_pixels(dataset), int(dataset.BitsStored), transfer_syntax)
        dataset["PixelData"].VR = "OB"
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True
    elif transfer_syntax == uid.ExplicitVRBigEndian:
        _swap_words(dataset)
    dcmwrite(path, dataset, enforce_file_format=True)


def _stored_pixels(dataset: Dataset) -> NDArray[Any]:
    kind = "i" if dataset.PixelRepresentation else "u"
    dtype = f"<{kind}{dataset.BitsAllocated // 8}"
    count = dataset.Rows * dataset.Columns
    return np.frombuffer(dataset.PixelData, dtype, count).reshape(dataset.Rows, dataset.Columns)


def _swap_words(dataset: Dataset) -> None:
    """Byte order of OW values is the writer's affair (PS3.5 7.3): pydicom leaves it alone."""
    for element in dataset.iterall():
        if element.VR == "OW" and element.value is not None:
            element.value = np.frombuffer(element.value, "<u2").astype(">u2").tobytes()


def encode_frame(pixels: NDArray[Any], bits: int, transfer_syntax: UID) -> bytes:
    """Encode [H, W] stored values into one frame of a compressed transfer syntax."""
    words = pixels.view(f"u{pixels.itemsize}") & np.asarray((1 << bits) - 1, f"u{pixels.itemsize}")
    if transfer_syntax == uid.RLELossless:
        return _run_length(words)
    if transfer_syntax == uid.JPEGBaseline8Bit:
        return bytes(imagecodecs.jpeg8_encode(words.astype(np.uint8), level=95))
    if transfer_syntax == uid.JPEGExtended12Bit:
        return bytes(imagecodecs.jpeg8_encode(words.astype(np.uint16), level=95, bitspersample=12))
    if transfer_syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        predictor = 1 if transfer_syntax == uid.JPEGLosslessSV1 else 6
        return bytes(imagecodecs.jpeg8_encode(words, lossless=True, bitspersample=bits, predictor=predictor))
    if transfer_syntax in uid.JPEGLSTransferSyntaxes:
        near = 2 if transfer_syntax == uid.JPEGLSNearLossless else 0
        return bytes(imagecodecs.jpegls_encode(words, level=near))
    if transfer_syntax in uid.JPEG2000TransferSyntaxes:
        lossy = transfer_syntax == uid.JPEG2000
        return bytes(
            imagecodecs.jpeg2k_encode(
                pixels,
                level=60 if lossy else 0,
                reversible=not lossy,
                codecformat="j2k",
                bitspersample=bits,
            )
        )
    return bytes(imagecodecs.htj2k_encode(words, reversible=transfer_syntax != uid.HTJ2K))


def _run_length(words: NDArray[Any]) -> bytes:
    return bytes(
        RLELosslessEncoder.encode(
            words,
            rows=words.shape[0],
            columns=words.shape[1],
            samples_per_pixel=1,
            number_of_frames=1,
            bits_allocated=8 * words.itemsize,
            bits_stored=8 * words.itemsize,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
            encoding_plugin="pydicom",
        )
    )
