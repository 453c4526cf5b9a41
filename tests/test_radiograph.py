"""Reading DICOM radiographs: pixels against ITK, every reason code by its cause, the header's words."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_factory import CR, DX, DX_RAW, LOSSLESS, LOSSY, XRF, limb_pixels, lut_item, make_radiograph
from pydicom import Dataset, config, uid
from pydicom.encaps import encapsulate
from pydicom.sr.coding import Code
from pydicom_files import READABLE, pydicom_files, real_radiograph

from monai_bone_ssl.errors import BoneSSLError, CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.radiograph import SpacingSource, read_header, read_radiograph

R = ReasonCode
HTJ2K = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)

needs_dcmtk = pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="needs DCMTK")


def normalised(pixels: Any) -> Any:
    """[H, W] stored values over their full range: what is shown without VOI."""
    values = pixels.astype(float)
    return (values - values.min()) / (values.max() - values.min())


# --- pixels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "signed"), [(8, False), (10, False), (12, True), (16, False), (16, True)])
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
def test_lossless_transfer_syntaxes_are_exact(
    syntax: uid.UID, bits: int, signed: bool, tmp_path: Path
) -> None:
    pixels = limb_pixels(97, 83, bits, signed)
    path = make_radiograph(tmp_path / "i.dcm", pixels, transfer_syntax=syntax, bits_stored=bits)
    np.testing.assert_allclose(read_radiograph(path).pixels, normalised(pixels), atol=1e-6)


@pytest.mark.parametrize("syntax", LOSSY, ids=lambda syntax: syntax.name)
def test_lossy_transfer_syntaxes_are_close(syntax: uid.UID, tmp_path: Path) -> None:
    pixels = limb_pixels(97, 83, 8 if syntax == uid.JPEGBaseline8Bit else 12)
    path = make_radiograph(tmp_path / "i.dcm", pixels, transfer_syntax=syntax)
    np.testing.assert_allclose(read_radiograph(path).pixels, normalised(pixels), atol=0.04)


ITK_READ = """
import json, sys
import itk, numpy
for source, target in json.load(sys.stdin):
    image = itk.imread(source, imageio=itk.GDCMImageIO.New())
    numpy.save(target, numpy.squeeze(itk.GetArrayFromImage(image)))
"""


def read_with_itk(paths: list[Path]) -> list[Any]:
    """Stored values after rescale, as ITK decodes them.

    In a process of its own: ITK's extension modules crash where Python's warnings are errors, as in pytest.
    """
    pairs = [(str(path), str(path.with_suffix(".npy"))) for path in paths]
    command = [sys.executable, "-c", ITK_READ]
    subprocess.run(command, input=json.dumps(pairs), text=True, check=True, capture_output=True)
    return [np.load(target) for _, target in pairs]


def test_lossless_pixels_equal_itk(tmp_path: Path) -> None:
    paths = []
    for syntax in set(LOSSLESS) - set(HTJ2K):  # ITK's GDCM cannot read these
        for bits, signed, rescale in ((8, False, None), (12, False, (2.0, -100.0)), (16, True, (-1.0, 3.0))):
            path = tmp_path / f"{len(paths)}.dcm"
            pixels = limb_pixels(67, 65, bits, signed, seed=len(paths))
            paths.append(make_radiograph(path, pixels, transfer_syntax=syntax, rescale=rescale))
    assert len(paths) == 27
    for path, array in zip(paths, read_with_itk(paths), strict=True):
        np.testing.assert_allclose(read_radiograph(path).pixels, normalised(array), atol=1e-6)


def test_real_radiographs_equal_itk(tmp_path: Path) -> None:
    """Uncompressed and reversible JPEG 2000; ITK hands out MONOCHROME1 turned round its stored bits."""
    paths = [tmp_path / f"RG{n}_{kind}.dcm" for n in (1, 3) for kind in ("UNCI", "UNCR", "J2KR")]
    for path in paths:
        shutil.copy(real_radiograph(path.name), path)
    for path, array in zip(paths, read_with_itk(paths), strict=True):
        radiograph = read_radiograph(path)
        center, width = (float(radiograph.header[key].value) for key in ("WindowCenter", "WindowWidth"))
        stored = 2**radiograph.header.BitsStored - 1 - array.astype(float)
        window = np.clip((stored - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
        np.testing.assert_allclose(radiograph.pixels, 1 - window, atol=1e-6)


@needs_dcmtk
@pytest.mark.parametrize(
    "command",
    [
        *(["dcmcjpeg", "+el", "+sv", str(predictor)] for predictor in range(1, 8)),
        ["dcmcjpeg", "+e1"],
        ["dcmcjpls", "+el"],
        ["dcmcrle"],
        ["dcmconv", "+td"],
        ["dcmconv", "+tb"],
        ["dcmconv", "+ti"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_files_that_dcmtk_wrote(command: list[str], bits: int, tmp_path: Path) -> None:
    pixels = limb_pixels(65, 67, bits)
    source = make_radiograph(tmp_path / "source.dcm", pixels)
    subprocess.run([*command, str(source), str(tmp_path / "i.dcm")], check=True, capture_output=True)
    written = read_radiograph(tmp_path / "i.dcm")
    np.testing.assert_allclose(written.pixels, normalised(pixels), atol=1e-6)


@needs_dcmtk
@pytest.mark.parametrize("process", [["+eb"], ["+ee"], ["+es"], ["+ep"]], ids=["baseline", "ee", "es", "ep"])
def test_lossy_jpeg_that_dcmtk_wrote(process: list[str], tmp_path: Path) -> None:
    """Extended has 12 bits; spectral selection and progression are retired and have no decoder in DICOM."""
    pixels = limb_pixels(bits=8 if process == ["+eb"] else 12)
    source = make_radiograph(tmp_path / "source.dcm", pixels)
    path = tmp_path / "i.dcm"
    subprocess.run(["dcmcjpeg", *process, str(source), str(path)], check=True, capture_output=True)
    if process in (["+es"], ["+ep"]):
        assert reason(path) is R.UNSUPPORTED_TRANSFER_SYNTAX
    else:
        np.testing.assert_allclose(read_radiograph(path).pixels, normalised(pixels), atol=0.05)


def test_unused_bits_are_no_pixels(tmp_path: Path) -> None:
    """Old files keep overlays in the bits above High Bit, or pixels in the upper bits of the word."""
    pixels = limb_pixels()
    plain = read_radiograph(make_radiograph(tmp_path / "plain.dcm", pixels)).pixels

    def overlay(dataset: Dataset) -> None:
        dataset.PixelData = (pixels | np.uint16(0xA000)).tobytes()

    def upper(dataset: Dataset) -> None:
        dataset.HighBit = 15
        dataset.PixelData = (pixels << 4 | np.uint16(0x5)).tobytes()

    for edit in (overlay, upper):
        for syntax in (uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian):
            path = make_radiograph(tmp_path / "i.dcm", pixels, transfer_syntax=syntax, edit=edit)
            np.testing.assert_array_equal(read_radiograph(path).pixels, plain)


def test_big_endian_bytes_travel_in_words(tmp_path: Path) -> None:
    pixels = limb_pixels(65, 67, bits=8)

    def words(dataset: Dataset) -> None:
        dataset["PixelData"].VR = "OW"

    path = make_radiograph(tmp_path / "i.dcm", pixels, transfer_syntax=uid.ExplicitVRBigEndian, edit=words)
    np.testing.assert_allclose(read_radiograph(path).pixels, normalised(pixels), atol=1e-6)


def test_big_endian_luts(tmp_path: Path) -> None:
    def add(dataset: Dataset) -> None:
        dataset.VOILUTSequence = [lut_item([4095 - v for v in range(4096)], 0, 12)]

    shown = [
        read_radiograph(
            make_radiograph(tmp_path / "i.dcm", limb_pixels(), transfer_syntax=syntax, edit=add)
        ).pixels
        for syntax in (uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian)
    ]
    np.testing.assert_array_equal(shown[0], shown[1])
    np.testing.assert_array_equal(shown[0], shown[2])
    np.testing.assert_allclose(shown[0], 1 - limb_pixels() / 4095, atol=1e-6)


def test_one_frame_in_several_fragments(tmp_path: Path) -> None:
    pixels = limb_pixels()
    frame = bytes(imagecodecs.jpegls_encode(pixels))
    frame += b"\0" * (len(frame) % 2)
    path = make_radiograph(tmp_path / "i.dcm", pixels, transfer_syntax=uid.JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([frame], fragments_per_frame=3)
    dataset.save_as(path)
    np.testing.assert_allclose(read_radiograph(path).pixels, normalised(pixels), atol=1e-6)


def test_padding_is_black_in_a_file(tmp_path: Path) -> None:
    pixels = limb_pixels()
    pixels[:, :20] = 4000

    def pad(dataset: Dataset) -> None:
        dataset.PixelPaddingValue = 4000

    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        path = make_radiograph(tmp_path / "i.dcm", pixels, photometric=photometric, edit=pad)
        assert not read_radiograph(path).pixels[:, :20].any()


@pytest.mark.parametrize("sop_class", [CR, DX, XRF], ids=["CR", "DX", "XRF"])
def test_bright_is_dense_in_both_polarities(sop_class: uid.UID, tmp_path: Path) -> None:
    pixels = limb_pixels()
    window = (2048, 4096)
    two = make_radiograph(tmp_path / "2.dcm", pixels, sop_class=sop_class, window=window)
    one = make_radiograph(
        tmp_path / "1.dcm", 4095 - pixels, sop_class=sop_class, window=window, photometric="MONOCHROME1"
    )
    np.testing.assert_allclose(read_radiograph(one).pixels, read_radiograph(two).pixels, atol=1e-6)


# --- reason codes -------------------------------------------------------------------------------------------


def reason(path: Path) -> ReasonCode | None:
    """Reason code, after the rules that hold for every error."""
    try:
        read_radiograph(path)
    except BoneSSLError as error:
        caught = error
    else:
        return None
    assert len(caught.text.splitlines()) == 1
    assert "Testperson" not in caught.text
    assert "TEST-0001" not in caught.text
    assert isinstance(caught, UnsupportedImage if caught.code in UNSUPPORTED else CorruptImage)
    return caught.code


UNSUPPORTED = {
    R.NOT_DICOM,
    R.UNSUPPORTED_SOP_CLASS,
    R.MULTI_FRAME,
    R.COLOUR,
    R.NOT_FOR_PRESENTATION,
    R.MISSING_PIXEL_DATA,
    R.IMAGE_TOO_SMALL,
    R.BLANK_IMAGE,
}


def put(**elements: Any) -> Callable[[Dataset], None]:
    """Set elements, or delete those whose value is None."""

    def edit(dataset: Dataset) -> None:
        for keyword, value in elements.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)

    return edit


def raw(keyword: str, vr: str, value: Any) -> Callable[[Dataset], None]:
    """Write a value under another VR than the element's own."""

    def edit(dataset: Dataset) -> None:
        dataset.add_new(keyword, vr, value)

    return edit


BY_HEADER: list[tuple[ReasonCode, Callable[[Dataset], None]]] = [
    (R.UNSUPPORTED_SOP_CLASS, put(SOPClassUID=uid.CTImageStorage)),
    (R.UNSUPPORTED_SOP_CLASS, put(SOPClassUID=uid.SecondaryCaptureImageStorage)),
    (R.UNSUPPORTED_SOP_CLASS, put(SOPClassUID=uid.DigitalMammographyXRayImageStorageForPresentation)),
    (R.UNSUPPORTED_SOP_CLASS, put(SOPClassUID="1.2.3.4.5")),
    (R.UNSUPPORTED_SOP_CLASS, put(Modality="CT")),
    (R.UNSUPPORTED_SOP_CLASS, put(Modality="MG")),
    (R.NOT_FOR_PRESENTATION, put(SOPClassUID=DX_RAW)),
    (R.NOT_FOR_PRESENTATION, put(PresentationIntentType="FOR PROCESSING")),
    (R.MULTI_FRAME, put(NumberOfFrames=2)),
    (R.COLOUR, put(SamplesPerPixel=3)),
    (R.COLOUR, put(PhotometricInterpretation="RGB")),
    (R.COLOUR, put(PhotometricInterpretation="YBR_FULL_422")),
    (R.COLOUR, put(PhotometricInterpretation="PALETTE COLOR")),
    (R.MISSING_PIXEL_DATA, put(PixelData=None)),
    (R.MISSING_PIXEL_DATA, put(PixelData=b"")),
    (R.IMAGE_TOO_SMALL, put(Rows=63)),
    (R.IMAGE_TOO_SMALL, put(Columns=8)),
    (R.MISSING_IDENTIFIER, put(StudyInstanceUID=None)),
    (R.MISSING_IDENTIFIER, put(StudyInstanceUID="")),
    (R.MISSING_IDENTIFIER, put(SOPInstanceUID=None)),
    (R.TRUNCATED_FILE, put(Rows=97)),
    (R.TRUNCATED_FILE, put(Columns=90)),
    (R.TRUNCATED_FILE, put(PixelData=bytes(1000))),
    (R.INVALID_HEADER, put(Rows=0)),
    (R.INVALID_HEADER, put(Rows=None)),
    (R.INVALID_HEADER, put(Rows=20_001)),
    (R.INVALID_HEADER, put(Rows=65535, Columns=65535)),
    (R.INVALID_HEADER, put(Rows=95)),  # a row too many in Pixel Data: the picture would be sheared or cropped
    (R.INVALID_HEADER, put(Columns=79)),
    (R.INVALID_HEADER, put(BitsStored=40)),
    (R.INVALID_HEADER, put(BitsStored=4)),
    (R.INVALID_HEADER, put(BitsStored=None)),
    (R.INVALID_HEADER, put(BitsAllocated=32)),
    (R.INVALID_HEADER, put(HighBit=3)),
    (R.INVALID_HEADER, put(HighBit=16)),
    (R.INVALID_HEADER, put(PixelRepresentation=2)),
    (R.INVALID_HEADER, put(PixelRepresentation=None)),
    (R.INVALID_HEADER, put(NumberOfFrames=0)),
    (R.INVALID_HEADER, put(PhotometricInterpretation="MONOCHROME3")),
    (R.INVALID_HEADER, put(PhotometricInterpretation=None)),
    (R.INVALID_HEADER, put(WindowCenter=100, WindowWidth=0)),
    (R.INVALID_HEADER, raw("RescaleSlope", "LO", "steep")),
    (R.INVALID_HEADER, raw("Rows", "US", [96, 96])),
    (R.INVALID_HEADER, raw("VOILUTSequence", "LO", "none")),
    (R.INVALID_HEADER, put(VOILUTSequence=[lut_item([1, 2, 3], 0, 30)])),
]


@pytest.mark.parametrize(("code", "edit"), BY_HEADER)
def test_reason_of_a_header(code: ReasonCode, edit: Callable[[Dataset], None], tmp_path: Path) -> None:
    assert reason(make_radiograph(tmp_path / "i.dcm", limb_pixels(), edit=edit)) is code


def test_the_same_file_without_the_edits_is_readable(tmp_path: Path) -> None:
    assert reason(make_radiograph(tmp_path / "i.dcm", limb_pixels())) is None


@pytest.mark.parametrize("value", [b"NaN   ", b"inf   ", b"abc   ", b"1e9999", b"12,5  "])
def test_numbers_that_are_none(value: bytes, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), window=(2000, 1234))
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


@pytest.mark.parametrize("syntax", [*LOSSLESS, *LOSSY], ids=lambda syntax: syntax.name)
def test_cut_files(syntax: uid.UID, tmp_path: Path) -> None:
    """In the pixel data: truncated. In the header as well, unless the cut falls between two elements."""
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(bits=bits), transfer_syntax=syntax)
    content = path.read_bytes()
    deflated = syntax == uid.DeflatedExplicitVRLittleEndian
    path.write_bytes(content[: len(content) * 3 // 4])
    assert reason(path) is (R.INVALID_HEADER if deflated else R.TRUNCATED_FILE)
    for length in (140, 200, 361, 500, 700):
        path.write_bytes(content[:length])
        assert reason(path) in (R.TRUNCATED_FILE, R.INVALID_HEADER, R.MISSING_IDENTIFIER)
    path.write_bytes(content[:132])
    assert reason(path) is R.TRUNCATED_FILE


def with_frame(path: Path, syntax: uid.UID, frame: bytes) -> Path:
    """Write a radiograph of 96 x 80 pixels of 12 bits around a frame of any kind."""
    make_radiograph(path, limb_pixels(), transfer_syntax=syntax)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    dataset.save_as(path)
    return path


STREAMS: dict[uid.UID, bytes] = {
    uid.JPEGLosslessSV1: bytes(imagecodecs.jpeg8_encode(limb_pixels(), lossless=True, bitspersample=12)),
    uid.JPEGLSLossless: bytes(imagecodecs.jpegls_encode(limb_pixels())),
    uid.JPEG2000Lossless: bytes(imagecodecs.jpeg2k_encode(limb_pixels(), reversible=True, codecformat="j2k")),
}


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: syntax.name)
def test_damaged_streams(syntax: uid.UID, tmp_path: Path) -> None:
    stream = STREAMS[syntax]
    path = tmp_path / "i.dcm"
    assert reason(with_frame(path, syntax, stream)) is None
    assert reason(with_frame(path, syntax, stream[: len(stream) // 2])) is R.TRUNCATED_FILE
    assert reason(with_frame(path, syntax, b"no stream at all")) is R.DECODE_FAILED
    assert reason(with_frame(path, syntax, stream[:40] + b"\xff\xd9")) is R.DECODE_FAILED


@pytest.mark.parametrize("syntax", [*STREAMS, uid.RLELossless], ids=lambda syntax: syntax.name)
def test_a_stream_of_another_size(syntax: uid.UID, tmp_path: Path) -> None:
    """Above all larger than the header says: nothing is allocated for it."""

    def taller(dataset: Dataset) -> None:
        dataset.Rows = 97

    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), transfer_syntax=syntax)
    dataset = pydicom.dcmread(path)
    taller(dataset)
    dataset.save_as(path)
    assert reason(path) is R.DECODE_FAILED


def test_a_stream_that_claims_to_be_huge(tmp_path: Path) -> None:
    stream = bytearray(STREAMS[uid.JPEG2000Lossless])
    start = stream.index(b"\xff\x51") + 6
    for offset in (0, 4, 16, 20):  # image and tile size
        struct.pack_into(">I", stream, start + offset, 60_000)
    assert reason(with_frame(tmp_path / "i.dcm", uid.JPEG2000Lossless, bytes(stream))) is R.DECODE_FAILED


def test_a_stream_of_too_many_tiles(tmp_path: Path) -> None:
    stream = bytearray(STREAMS[uid.JPEG2000Lossless])
    start = stream.index(b"\xff\x51") + 6
    struct.pack_into(">2I", stream, start + 16, 0, 1)
    assert reason(with_frame(tmp_path / "i.dcm", uid.JPEG2000Lossless, bytes(stream))) is R.DECODE_FAILED


def test_a_deflated_bomb_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_bone_ssl.dicom_header._MAX_INFLATED", 100 << 20)
    path = make_radiograph(
        tmp_path / "i.dcm", limb_pixels(), transfer_syntax=uid.DeflatedExplicitVRLittleEndian
    )
    content = path.read_bytes()
    meta_length = (
        144 + pydicom.dcmread(path, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
    )
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(1 << 24)
    path.write_bytes(content[:meta_length] + b"".join(bomb.compress(zeros) for _ in range(7)) + bomb.flush())
    assert path.stat().st_size < 1 << 20
    with pytest.raises(CorruptImage, match="inflates to more than"):
        read_header(path)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.55", "1.2.3"])
def test_transfer_syntaxes_without_a_decoder(syntax: str, tmp_path: Path) -> None:
    """MPEG-2, a retired JPEG process, a private one."""
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), transfer_syntax=uid.JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    assert reason(path) is R.UNSUPPORTED_TRANSFER_SYNTAX


@pytest.mark.parametrize(
    ("name", "path", "outcome"), [pytest.param(*file, id=file[0]) for file in pydicom_files()]
)
def test_files_of_pydicom(name: str, path: Path, outcome: str) -> None:
    found = reason(path)
    assert (READABLE if found is None else found) == outcome, name


def test_the_text_names_the_class() -> None:
    path = next(path for name, path, _ in pydicom_files() if name == "CT_small.dcm")
    with pytest.raises(UnsupportedImage, match=r"^CT Image Storage is not a projection radiograph$"):
        read_radiograph(path)


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
        "from monai_bone_ssl.radiograph import read_radiograph\n"
        "for name in sys.argv[1:]:\n"
        "    try: read_radiograph(pathlib.Path(name))\n"
        "    except BoneSSLError as error: print(error.code)\n"
    )
    names = ("badVR.dcm", "rtplan_truncated.dcm", "MR_truncated.dcm", "SC_rgb_jpeg.dcm")
    files = [path for name, path, _ in pydicom_files() if name in names]
    command = [sys.executable, "-c", program, str(path), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 5


# --- files as they come -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [128 + 4, None], ids=["meta information first", "data set first"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_files_without_preamble(cut: int | None, syntax: uid.UID, tmp_path: Path) -> None:
    pixels = limb_pixels()
    path = make_radiograph(tmp_path / "i.dcm", pixels, transfer_syntax=syntax)
    start = cut or 144 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    path.write_bytes(path.read_bytes()[start:])
    np.testing.assert_allclose(read_radiograph(path).pixels, normalised(pixels), atol=1e-6)


def test_the_header_holds_no_pixels_and_every_value_is_converted(tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), patient_name="Müller^Jürgen")
    for header in (read_header(path), read_radiograph(path).header):
        assert "PixelData" not in header
        assert header.PatientName == "Müller^Jürgen"
        assert not any(type(element).__name__ == "RawDataElement" for element in header.values())


def test_identity(tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), study_uid="1.2.3", sop_uid="1.2.3.4")
    radiograph = read_radiograph(path)
    assert (radiograph.study_instance_uid, radiograph.sop_instance_uid) == ("1.2.3", "1.2.3.4")


def test_odd_but_harmless_values_do_not_stop_it(tmp_path: Path) -> None:
    """Text too long for its VR, a number that is none in an element nobody needs, burned-in annotation."""
    path = make_radiograph(
        tmp_path / "i.dcm",
        limb_pixels(),
        edit=put(StudyID="0123456789012345", BurnedInAnnotation="YES"),
    )
    content = path.read_bytes().replace(b"0123456789012345", b"\xff\xfe3456789012345#")
    path.write_bytes(content)
    assert reason(path) is None


@pytest.mark.parametrize(
    ("elements", "spacing", "source"),
    [
        ({}, None, None),
        ({"PixelSpacing": [0.1, 0.2]}, (0.1, 0.2), SpacingSource.PIXEL_SPACING),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, (0.1, 0.2), SpacingSource.IMAGER_PIXEL_SPACING),
        (
            {"PixelSpacing": [0.3, 0.3], "ImagerPixelSpacing": [0.1, 0.2]},
            (0.3, 0.3),
            SpacingSource.PIXEL_SPACING,
        ),
        (
            {"ImagerPixelSpacing": [0.1, 0.2], "EstimatedRadiographicMagnificationFactor": 1.25},
            (0.08, 0.16),
            SpacingSource.IMAGER_PIXEL_SPACING_DEMAGNIFIED,
        ),
        (
            {"ImagerPixelSpacing": [0.1, 0.2], "EstimatedRadiographicMagnificationFactor": 0},
            (0.1, 0.2),
            SpacingSource.IMAGER_PIXEL_SPACING,
        ),
        ({"PixelSpacing": [0, 0]}, None, None),
        (
            {"PixelSpacing": [-1, 1], "ImagerPixelSpacing": [0.1, 0.1]},
            (0.1, 0.1),
            SpacingSource.IMAGER_PIXEL_SPACING,
        ),
        ({"PixelSpacing": 0.1}, None, None),
    ],
)
def test_spacing(
    elements: dict[str, Any],
    spacing: tuple[float, float] | None,
    source: SpacingSource | None,
    tmp_path: Path,
) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), imager_pixel_spacing=None, edit=put(**elements))
    radiograph = read_radiograph(path)
    assert radiograph.spacing == pytest.approx(spacing)
    assert radiograph.spacing_source == source


@pytest.mark.parametrize(
    ("elements", "laterality"),
    [
        ({"Laterality": "R"}, "R"),
        ({"Laterality": "R", "ImageLaterality": "L"}, "L"),
        ({"Laterality": "R", "ImageLaterality": "U"}, "R"),
        ({"Laterality": "", "FrameLaterality": "B"}, "B"),
        ({"Laterality": ""}, None),
        ({"Laterality": "X"}, None),
        ({"ImageLaterality": "U", "Laterality": ""}, None),
    ],
)
def test_laterality(elements: dict[str, str], laterality: str | None, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), edit=put(**elements))
    assert read_radiograph(path).laterality == laterality


@pytest.mark.parametrize(
    ("region", "body_part", "anatomy"),
    [
        (None, "HAND", "HAND"),
        (None, "LOWER LEG", "LOWERLEG"),
        (None, "TIB_FIB", "TIBIAFIBULA"),
        (None, "UP_EXM", "ARM"),
        (None, "LOW_EXM", "EXTREMITY"),
        (None, "CHEST", "CHEST"),
        (None, "", None),
        (None, "_", None),
        (Code("70258002", "SCT", "Ankle joint"), "EXTREMITY", "ANKLE"),
        (Code("8205005", "SCT", "Wrist region"), "", "WRIST"),
        (Code("T-15750", "SRT", "Ankle joint"), "", "ANKLE"),
        (Code("T-D8700", "SNM3", "Hand"), "", "HAND"),
        (Code("51185008", "SCT", "Chest"), "", "CHEST"),
        (Code("51185008", "SCT", "Chest"), "HAND", "HAND"),
        (Code("70258002", "99LOCAL", "Something else"), "", "SOMETHINGELSE"),
    ],
)
def test_anatomy(region: Code | None, body_part: str, anatomy: str | None, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), anatomic_region=region, body_part=body_part)
    assert read_radiograph(path).anatomy == anatomy


# --- the factory itself -------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy of dicom3tools")
@pytest.mark.parametrize(
    ("sop_class", "photometric"),
    [
        (CR, "MONOCHROME1"),
        (CR, "MONOCHROME2"),
        (DX, "MONOCHROME1"),
        (DX, "MONOCHROME2"),
        (DX_RAW, "MONOCHROME1"),
        (XRF, "MONOCHROME2"),  # the only one for XRF
    ],
)
def test_synthetic_radiographs_are_valid(sop_class: uid.UID, photometric: str, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), sop_class=sop_class, photometric=photometric)
    report = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in report.stderr, report.stderr
