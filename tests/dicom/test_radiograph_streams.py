"""Files that end early; compressed pixel data that is damaged, lies about its size, or has no decoder."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import pydicom
import pytest
from dicom_factory import LOSSLESS, LOSSY, limb_pixels, make_radiograph
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from reading import reason

from monai_bone_ssl.errors import ReasonCode as R


@pytest.mark.parametrize("syntax", [*LOSSLESS, *LOSSY], ids=lambda syntax: syntax.name)
def test_cut_files(syntax: uid.UID, tmp_path: Path) -> None:
    """In the pixel data: truncated. In the header as well, unless the cut falls between two elements."""
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(bits=bits), transfer_syntax=syntax)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    assert reason(path) is R.TRUNCATED_FILE
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
    assert reason(with_frame(tmp_path / "i.dcm", uid.JPEG2000Lossless, bytes(stream))) is R.TOO_LARGE


def test_a_stream_of_too_many_tiles(tmp_path: Path) -> None:
    stream = bytearray(STREAMS[uid.JPEG2000Lossless])
    start = stream.index(b"\xff\x51") + 6
    struct.pack_into(">2I", stream, start + 16, 0, 1)
    assert reason(with_frame(tmp_path / "i.dcm", uid.JPEG2000Lossless, bytes(stream))) is R.DECODE_FAILED


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.55", "1.2.3"])
def test_transfer_syntaxes_without_a_decoder(syntax: str, tmp_path: Path) -> None:
    """MPEG-2, a retired JPEG process, a private one."""
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), transfer_syntax=uid.JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    assert reason(path) is R.UNSUPPORTED_TRANSFER_SYNTAX
