"""Pixel data a bit off: what is plainly there is read, and said; what is not there is not made up."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import LOSSLESS, LOSSY, encode_frame, limb_pixels, make_radiograph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate, generate_fragments
from reading import normalised, put, reason
from validators import run_tool

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import ReasonCode as R
from monai_bone_ssl.notes import NoteCode

ENCAPSULATED = [syntax for syntax in (*LOSSLESS, *LOSSY) if syntax.is_encapsulated]
STREAMS = [syntax for syntax in ENCAPSULATED if syntax != uid.RLELossless]
PIXELS = limb_pixels(bits=8)
NATIVE = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
EXAMPLES = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def codes(path: Path) -> list[NoteCode]:
    return [note.code for note in read_radiograph(path).notes]


def frame_of(path: Path) -> bytes:
    _, *fragments = generate_fragments(pydicom.dcmread(path).PixelData)
    return b"".join(fragments)


def with_pixel_data(path: Path, value: bytes) -> Path:
    dataset = pydicom.dcmread(path)
    dataset.PixelData = value
    dataset.save_as(path)
    return path


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


# --- more pixels than the image has -------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [*NATIVE, uid.RLELossless], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_excess_rows_are_ignored(syntax: uid.UID, bits: int, rows: int, tmp_path: Path) -> None:
    pixels = limb_pixels(97, 81, bits)
    image = pixels[:-rows]

    def crop(dataset: Dataset) -> None:
        if not syntax.is_encapsulated:
            dataset.Rows = len(image)

    path = make_radiograph(tmp_path / "i.dcm", pixels, transfer_syntax=syntax, edit=crop, window=(128, 256))
    if syntax.is_encapsulated:
        dataset = pydicom.dcmread(path)
        dataset.Rows = len(image)
        dataset.save_as(path)
    plain = make_radiograph(tmp_path / "plain.dcm", image, bits_stored=max(8, bits), window=(128, 256))
    np.testing.assert_array_equal(read_radiograph(path).pixels, read_radiograph(plain).pixels)
    assert codes(path) == [NoteCode.EXCESS_PIXEL_DATA]


@EXAMPLES
@given(excess=st.integers(2, 3000), bits=st.sampled_from([8, 12]))
def test_excess_bytes_are_ignored(excess: int, bits: int, tmp_path: Path) -> None:
    """Unless they make a better picture of another width."""
    pixels = limb_pixels(bits=bits)
    noise = np.random.default_rng(excess).bytes(excess * pixels.itemsize)

    def append(dataset: Dataset) -> None:
        dataset.PixelData += noise + b"\0" * (len(noise) % 2)

    path = make_radiograph(tmp_path / "i.dcm", pixels, edit=append)
    np.testing.assert_allclose(read_radiograph(path).pixels, normalised(pixels), atol=1e-6)
    assert codes(path) == [NoteCode.EXCESS_PIXEL_DATA]


@pytest.mark.parametrize("size", [(128, 128), (97, 80), (80, 97)])
@pytest.mark.parametrize("spare", [1, 2, 16])
@pytest.mark.parametrize("bits", [8, 12])
def test_spare_columns_are_no_excess(size: tuple[int, int], spare: int, bits: int, tmp_path: Path) -> None:
    """Columns is wrong then: each row would begin further to the right."""
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(*size, bits), edit=put(Columns=size[1] - spare))
    assert reason(path) is R.INVALID_HEADER


@pytest.mark.parametrize("bits", [8, 12])
def test_padding_is_no_excess(bits: int, tmp_path: Path) -> None:
    assert codes(make_radiograph(tmp_path / "i.dcm", limb_pixels(97, 81, bits))) == []


@pytest.mark.parametrize("missing", [1, 2, 80, 2000])
def test_too_few_pixels_are_truncated(missing: int, tmp_path: Path) -> None:
    def cut(dataset: Dataset) -> None:
        dataset.PixelData = dataset.PixelData[:-missing] + b"\0" * (missing % 2)

    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(bits=12), edit=cut)
    assert reason(path) is (None if missing == 1 else R.TRUNCATED_FILE)


# --- fragments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", ENCAPSULATED, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(
    "table",
    [
        b"",
        bytes(4),
        b"\x93\x03\0\0",
        struct.pack("<2I", 0, 100),
        struct.pack("<3I", 7, 7, 1 << 31),
        b"\1" * 6,
    ],
    ids=["empty", "right", "wrong", "two frames", "nonsense", "odd"],
)
def test_an_offset_table_does_not_matter_for_one_frame(syntax: uid.UID, table: bytes, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", PIXELS, transfer_syntax=syntax)
    expected = read_radiograph(path).pixels
    with_pixel_data(path, item(table) + item(frame_of(path)))
    np.testing.assert_array_equal(read_radiograph(path).pixels, expected)
    assert codes(path) == ([NoteCode.OFFSET_TABLE] if table.strip(b"\0") else [])


@EXAMPLES
@given(data=st.data(), syntax=st.sampled_from(ENCAPSULATED), table=st.binary(max_size=12))
def test_a_frame_in_any_number_of_fragments(
    data: st.DataObject, syntax: uid.UID, table: bytes, tmp_path: Path
) -> None:
    path = make_radiograph(tmp_path / "i.dcm", PIXELS, transfer_syntax=syntax)
    expected, frame = read_radiograph(path).pixels, frame_of(path)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(frame) // 2), max_size=5)))
    ends = [2 * cut for cut in (*cuts, len(frame) // 2)]
    fragments = [frame[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    with_pixel_data(path, item(table) + b"".join(map(item, fragments)))
    np.testing.assert_array_equal(read_radiograph(path).pixels, expected)


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: syntax.name)
def test_no_offset_table(syntax: uid.UID, tmp_path: Path) -> None:
    """The first item then is the image."""
    path = make_radiograph(tmp_path / "i.dcm", PIXELS, transfer_syntax=syntax)
    expected = read_radiograph(path).pixels
    with_pixel_data(path, item(frame_of(path)))
    np.testing.assert_array_equal(read_radiograph(path).pixels, expected)
    assert codes(path) == [NoteCode.OFFSET_TABLE]


# --- after the end of a stream ------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(
    "after", [b"\0", b"\0" * 20, b"\0" * 5000, b"\xff" * 30, b"\xff\xd9" * 3, bytes(range(256)) * 9]
)
def test_bytes_after_the_end_are_ignored(syntax: uid.UID, after: bytes, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", PIXELS, transfer_syntax=syntax)
    expected = read_radiograph(path).pixels
    frame = frame_of(path).rstrip(b"\0") + after
    with_pixel_data(path, encapsulate([frame + b"\0" * (len(frame) % 2)]))
    np.testing.assert_array_equal(read_radiograph(path).pixels, expected)


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: syntax.name)
def test_a_second_stream_after_the_first_is_ignored(syntax: uid.UID, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", PIXELS, transfer_syntax=syntax)
    expected, frame = read_radiograph(path).pixels, frame_of(path)
    other = encode_frame(PIXELS[::-1].copy(), 8, syntax)
    with_pixel_data(path, encapsulate([frame + other + b"\0" * (len(other) % 2)]))
    np.testing.assert_array_equal(read_radiograph(path).pixels, expected)


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("after", [b"", b"\0" * 40])
def test_truncated_stays_truncated(syntax: uid.UID, share: float, after: bytes, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", PIXELS, transfer_syntax=syntax)
    frame = frame_of(path)
    cut = frame[: 2 * int(len(frame) * share / 2)]
    with_pixel_data(path, encapsulate([cut + after]))
    assert reason(path) in (R.TRUNCATED_FILE, R.DECODE_FAILED)


def test_an_end_within_the_header_is_not_the_image_s(tmp_path: Path) -> None:
    """A thumbnail in a JPEG stream has an end of its own."""
    path = make_radiograph(tmp_path / "i.dcm", PIXELS, transfer_syntax=uid.JPEGBaseline8Bit)
    frame = frame_of(path)
    thumbnail = b"\xff\xe1" + struct.pack(">H", 8) + b"\xff\xd8AB\xff\xd9"
    with_thumbnail = frame[:2] + thumbnail + frame[2:]
    with_pixel_data(path, encapsulate([with_thumbnail]))
    assert reason(path) is None
    cut = with_thumbnail[: len(with_thumbnail) // 4 * 2]
    assert reason(with_pixel_data(path, encapsulate([cut]))) is R.TRUNCATED_FILE


# --- colour of one sample -----------------------------------------------------------------------------------


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "YBR_ICT"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGBaseline8Bit])
def test_luminance_alone_is_grey(photometric: str, syntax: uid.UID, tmp_path: Path) -> None:
    """Shown as DCMTK shows it."""
    path = make_radiograph(tmp_path / "i.dcm", PIXELS, transfer_syntax=syntax, window=(128, 256))
    expected = read_radiograph(path).pixels
    dataset = pydicom.dcmread(path)
    dataset.PhotometricInterpretation = photometric
    dataset.save_as(path)
    np.testing.assert_array_equal(read_radiograph(path).pixels, expected)
    assert codes(path) == [NoteCode.PHOTOMETRIC_INTERPRETATION]
    if syntax == uid.JPEGBaseline8Bit and photometric == "YBR_FULL_422":
        picture = tmp_path / "i.pgm"
        assert run_tool("dcmj2pnm", "+op", "+Wi", "1", path, picture).returncode == 0
        theirs = np.frombuffer(picture.read_bytes()[-PIXELS.size :], np.uint8).reshape(PIXELS.shape)
        assert np.abs(np.floor(expected * 255 + 1e-3) - theirs).max() <= 1
