"""Every reason code by its cause."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import DX_RAW, limb_pixels, make_radiograph
from pydicom import Dataset, config, uid
from pydicom_files import READABLE, pydicom_files
from reading import put, reason, refusal

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import CorruptImage
from monai_bone_ssl.errors import ReasonCode as R


def raw(keyword: str, vr: str, value: Any) -> Callable[[Dataset], None]:
    """Write a value under another VR than the element's own."""

    def edit(dataset: Dataset) -> None:
        dataset.add_new(keyword, vr, value)

    return edit


#: Reason, what its text names, and the edit that causes it.
BY_HEADER: list[tuple[R, str, Callable[[Dataset], None]]] = [
    (
        R.UNSUPPORTED_SOP_CLASS,
        "CT Image Storage is not a projection radiograph",
        put(SOPClassUID=uid.CTImageStorage),
    ),
    (R.UNSUPPORTED_SOP_CLASS, "Secondary Capture", put(SOPClassUID=uid.SecondaryCaptureImageStorage)),
    (
        R.UNSUPPORTED_SOP_CLASS,
        "Mammography",
        put(SOPClassUID=uid.DigitalMammographyXRayImageStorageForPresentation),
    ),
    (R.UNSUPPORTED_SOP_CLASS, "SOP class 1.2.3.4.5 is not a projection", put(SOPClassUID="1.2.3.4.5")),
    (R.UNSUPPORTED_SOP_CLASS, "with modality CT: expected CR, DX, RF, RG", put(Modality="CT")),
    (R.UNSUPPORTED_SOP_CLASS, "Computed Radiography Image Storage with modality MG", put(Modality="MG")),
    # What is no defined term is not repeated: it might be anything, a name for instance.
    (R.UNSUPPORTED_SOP_CLASS, "modality of another kind", put(Modality="DOE JANE")),
    (R.NOT_FOR_PRESENTATION, "for processing", put(SOPClassUID=DX_RAW)),
    (R.NOT_FOR_PRESENTATION, "for processing", put(PresentationIntentType="FOR PROCESSING")),
    (R.MULTI_FRAME, "2 frames: expected one", put(NumberOfFrames=2)),
    (R.COLOUR, "expected a grey", put(SamplesPerPixel=3)),
    (R.COLOUR, "expected a grey", put(SamplesPerPixel=2)),
    (R.COLOUR, "expected a grey", put(PhotometricInterpretation="RGB")),
    (R.COLOUR, "expected a grey", put(PhotometricInterpretation="PALETTE COLOR")),
    (R.MISSING_PIXEL_DATA, "no pixel data", put(PixelData=None)),
    (R.MISSING_PIXEL_DATA, "no pixel data", put(PixelData=b"")),
    (R.IMAGE_TOO_SMALL, "63 x 80: expected 64 or more", put(Rows=63)),
    (R.IMAGE_TOO_SMALL, "96 x 1: expected 64 or more", put(Columns=1)),
    (R.IMAGE_TOO_SMALL, "1 x 80: expected 64 or more", put(Rows=1)),
    # The file meta information names a class; a report cannot refer to an image that does not.
    (R.MISSING_IDENTIFIER, "SOPClassUID is missing", put(SOPClassUID=None)),
    (R.MISSING_IDENTIFIER, "StudyInstanceUID is missing", put(StudyInstanceUID=None)),
    (R.MISSING_IDENTIFIER, "StudyInstanceUID is missing", put(StudyInstanceUID="")),
    (R.MISSING_IDENTIFIER, "SeriesInstanceUID is missing", put(SeriesInstanceUID=None)),
    (R.MISSING_IDENTIFIER, "SOPInstanceUID is missing", put(SOPInstanceUID=None)),
    (R.TRUNCATED_FILE, "", put(Rows=97)),
    (R.TRUNCATED_FILE, "", put(Columns=90)),
    (R.TRUNCATED_FILE, "", put(PixelData=bytes(1000))),
    (R.INVALID_HEADER, "0 x 80: expected pixels", put(Rows=0)),
    (R.INVALID_HEADER, "96 x 0: expected pixels", put(Columns=0)),
    (R.INVALID_HEADER, "Rows", put(Rows=None)),
    (R.TOO_LARGE, "20001 x 80: expected at most 20000", put(Rows=20_001)),
    (R.TOO_LARGE, "96 x 20001: expected at most 20000", put(Columns=20_001)),
    (R.TOO_LARGE, "65535 x 65535", put(Rows=65535, Columns=65535)),
    (R.COLOUR, "expected a grey", put(PhotometricInterpretation="YBR_FULL_422", SamplesPerPixel=3)),
    (R.COLOUR, "expected a grey", put(PhotometricInterpretation="YBR_FULL_422", SamplesPerPixel=None)),
    # The picture would be sheared.
    (R.INVALID_HEADER, "80 columns, the header says 79", put(Columns=79)),
    (R.INVALID_HEADER, "80 columns, the header says 64", put(Columns=64)),
    (R.INVALID_HEADER, "Bits Stored 40, High Bit 11", put(BitsStored=40)),
    (R.INVALID_HEADER, "Bits Stored 4, ", put(BitsStored=4)),
    (R.INVALID_HEADER, "Bits Stored 5, ", put(BitsStored=5, HighBit=4)),
    (R.INVALID_HEADER, "BitsStored", put(BitsStored=None)),
    (R.INVALID_HEADER, "Bits Allocated 32, ", put(BitsAllocated=32)),
    (R.INVALID_HEADER, "High Bit 3: expected", put(HighBit=3)),
    (R.INVALID_HEADER, "High Bit 10: expected", put(HighBit=10)),
    (R.INVALID_HEADER, "High Bit 16: expected", put(HighBit=16)),
    (R.INVALID_HEADER, "Pixel Representation is 2", put(PixelRepresentation=2)),
    (R.INVALID_HEADER, "PixelRepresentation", put(PixelRepresentation=None)),
    (R.INVALID_HEADER, "Number of Frames is 0: expected 1", put(NumberOfFrames=0)),
    (R.INVALID_HEADER, "MONOCHROME2", put(PhotometricInterpretation="MONOCHROME3")),
    (R.INVALID_HEADER, "MONOCHROME2", put(PhotometricInterpretation=None)),
    (R.INVALID_HEADER, "RescaleSlope", raw("RescaleSlope", "LO", "steep")),
    (R.INVALID_HEADER, "Rows", raw("Rows", "US", [96, 96])),
]


@pytest.mark.parametrize(("code", "words", "edit"), BY_HEADER)
def test_reason_of_a_header(code: R, words: str, edit: Callable[[Dataset], None], tmp_path: Path) -> None:
    error = refusal(make_radiograph(tmp_path / "i.dcm", limb_pixels(), edit=edit))
    assert error is not None
    assert error.code is code
    assert words in error.text


@pytest.mark.parametrize(
    "edit",
    [
        put(),
        put(NumberOfFrames=1),
        put(SamplesPerPixel=None),
        put(HighBit=None),
        *(put(Modality=modality) for modality in ("CR", "DX", "RF", "RG", "")),
        put(PresentationIntentType="FOR PRESENTATION"),
    ],
)
def test_files_that_are_read(edit: Callable[[Dataset], None], tmp_path: Path) -> None:
    """As they come from the factory, and with what senders write besides or leave out."""
    assert refusal(make_radiograph(tmp_path / "i.dcm", limb_pixels(), edit=edit)) is None


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (64, 20_000), (20_000, 64)])
def test_the_smallest_and_the_largest_size(rows: int, columns: int, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(rows, columns, bits=8))
    assert read_radiograph(path).pixels.shape == (rows, columns)


def test_the_fewest_bits(tmp_path: Path) -> None:
    assert reason(make_radiograph(tmp_path / "i.dcm", limb_pixels(bits=6), bits_stored=6)) is None


@pytest.mark.parametrize("value", [b"NaN   ", b"inf   ", b"abc   ", b"1e9999", b"12,5  "])
def test_numbers_that_are_none(value: bytes, tmp_path: Path) -> None:
    """A rescale that cannot be read might be any; a window is another matter."""
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), rescale=(1234.0, 0))
    content = path.read_bytes()
    assert content.count(b"DS\x06\x001234.0") == 1
    path.write_bytes(content.replace(b"DS\x06\x001234.0", b"DS\x06\x00" + value))
    assert reason(path) is R.INVALID_HEADER


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((96, 80), 1000, np.uint16),
        np.tile(np.array([0, 2000, 4095], np.uint16), (96, 27)),
    ],
    ids=["one value", "three levels"],
)
def test_blank_images(pixels: Any, tmp_path: Path) -> None:
    assert reason(make_radiograph(tmp_path / "i.dcm", pixels, bits_stored=12)) is R.BLANK_IMAGE


def test_a_window_beside_the_values_shows_nothing(tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), window=(60000, 100))
    assert reason(path) is R.BLANK_IMAGE


def test_four_levels_are_a_picture(tmp_path: Path) -> None:
    pixels = np.tile(np.array([0, 1000, 2000, 4095], np.uint16), (96, 20))
    assert reason(make_radiograph(tmp_path / "i.dcm", pixels)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        b"hello, world\n" * 20,
        b"\x89PNG\r\n\x1a\n" + bytes(300),
        bytes(1000),
        b"\xff\xd8\xff\xe0" * 99,
    ],
    ids=["empty", "one byte", "text", "PNG", "zeros", "JPEG"],
)
def test_not_dicom(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.dcm"
    path.write_bytes(content)
    assert reason(path) is R.NOT_DICOM


def test_unreadable_files(tmp_path: Path) -> None:
    assert reason(tmp_path / "nowhere.dcm") is R.UNREADABLE_FILE
    assert reason(tmp_path) is R.UNREADABLE_FILE  # a folder


def test_a_file_name_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(CorruptImage, match=re.escape(r"a\nb")):
        read_radiograph(tmp_path / "a\nb")


@pytest.mark.parametrize(
    ("name", "path", "outcome"), [pytest.param(*file, id=file[0]) for file in pydicom_files()]
)
def test_files_of_pydicom(name: str, path: Path, outcome: str) -> None:
    found = reason(path)
    assert (READABLE if found is None else found) == outcome, name


def test_settings_are_put_back(tmp_path: Path) -> None:
    before = config.settings.reading_validation_mode
    filters = list(warnings.filters)
    read_radiograph(make_radiograph(tmp_path / "i.dcm", limb_pixels()))
    reason(next(path for name, path, _ in pydicom_files() if name == "badVR.dcm"))
    assert config.settings.reading_validation_mode == before
    assert warnings.filters == filters


def test_nothing_is_printed_about_bad_files(tmp_path: Path) -> None:
    """Python's warnings as they are outside pytest, with a file for which pydicom alone warns."""
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels())
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 192", b"ISO-IR 19x"))
    program = (
        "import sys, pathlib\n"
        "from monai_bone_ssl.errors import BoneSSLError\n"
        "from monai_bone_ssl.dicom.radiograph import read_radiograph\n"
        "for name in sys.argv[1:]:\n"
        "    try: read_radiograph(pathlib.Path(name)); print('read')\n"
        "    except BoneSSLError as error: print(error.code)\n"
    )
    names = ("badVR.dcm", "rtplan_truncated.dcm", "MR_truncated.dcm", "SC_rgb_jpeg.dcm")
    files = [path for name, path, _ in pydicom_files() if name in names]
    command = [sys.executable, "-c", program, str(path), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 5
