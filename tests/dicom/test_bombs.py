"""Small files that claim or unpack to far more: refused, in little memory and time."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_factory import LOSSLESS, limb_pixels, make_radiograph
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from reading import outcome_and_memory, put, reason

from monai_bone_ssl.dicom import codestreams, stream
from monai_bone_ssl.dicom.radiograph import read_header
from monai_bone_ssl.errors import ReasonCode as R

MIB = 1 << 20


def deflated(path: Path, before: bytes = b"", after: bytes = b"") -> Path:
    """A deflated radiograph with bytes before and after its data set, deflated with it."""
    make_radiograph(path, limb_pixels(), transfer_syntax=uid.DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    meta = 144 + pydicom.dcmread(path, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data_set = before + zlib.decompress(content[meta:], -zlib.MAX_WBITS) + after
    path.write_bytes(content[:meta] + packer.compress(data_set) + packer.flush())
    return path


def elements(vr: bytes, count: int, value: bytes = b"") -> bytes:
    """Private elements, each with the same value."""
    long = vr in (b"SQ", b"UC")
    head = struct.pack("<2sHI", vr, 0, len(value)) if long else struct.pack("<2sH", vr, len(value))
    return b"".join(
        struct.pack("<HH", 0x0009 + 2 * (number >> 15), 0x1000 + (number & 0x7FFF)) + head + value
        for number in range(count)
    )


ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
HEADERS: dict[str, Callable[[], bytes]] = {
    "elements": lambda: elements(b"LO", 300_000),
    "elements of sequences": lambda: elements(
        b"SQ", 20, struct.pack("<HHI", 0xFFFE, 0xE000, 80_000) + elements(b"LO", 10_000)
    ),
    "items": lambda: elements(b"SQ", 20, ITEM * 100_000),
    "values": lambda: elements(b"UC", 20, b"\\" * 900_000),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_of_too_many(kind: str, tmp_path: Path) -> None:
    path = deflated(tmp_path / "i.dcm", before=HEADERS[kind]())
    assert path.stat().st_size < 2 * MIB
    outcome, memory = outcome_and_memory(path)
    assert outcome == R.TOO_LARGE
    assert memory < 400


def test_a_data_set_that_inflates_to_gigabytes(tmp_path: Path) -> None:
    """Stopped on the way, not afterwards."""
    path = deflated(tmp_path / "i.dcm", after=bytes(700 * MIB))
    assert path.stat().st_size < MIB
    started = time.perf_counter()
    outcome, memory = outcome_and_memory(path)
    assert time.perf_counter() - started < 20
    assert outcome == R.TOO_LARGE
    assert memory < 400


@pytest.mark.parametrize("size", [0, 1, stream._CHUNK, 40 * MIB])
@pytest.mark.parametrize("padding", [b"", b"\0", b"\0\0\0"])
def test_a_deflated_data_set_ends_where_it_says(size: int, padding: bytes, tmp_path: Path) -> None:
    """Whatever its size, with a byte that pads it to an even length, or more; it used to be read for ever."""
    trailing = struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, size) + bytes(size)
    path = deflated(tmp_path / "i.dcm", after=trailing)
    path.write_bytes(path.read_bytes() + padding)
    assert reason(path) is None


def test_a_deflated_data_set_that_stops(tmp_path: Path) -> None:
    path = deflated(tmp_path / "i.dcm")
    path.write_bytes(path.read_bytes()[:-100])
    assert reason(path) is R.TRUNCATED_FILE


def test_large_elements_of_a_header_are_left_unread(tmp_path: Path) -> None:
    """As some vendors add them, before the pixel data."""

    def add(dataset: Dataset) -> None:
        dataset.private_block(0x0009, "TEST", create=True).add_new(1, "OB", bytes(100 * MIB))

    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), edit=add)
    outcome, memory = outcome_and_memory(path)
    assert outcome == "(96, 80)"
    assert memory < 200
    assert all(len(e.value) < MIB for e in read_header(path) if isinstance(e.value, bytes))


def test_pixel_data_far_larger_than_any_image(tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels())
    size = 300 * MIB
    head = b"\xe0\x7f\x10\x00OW\0\0"
    content = path.read_bytes()
    at = content.index(head) + len(head)
    with path.open("wb") as file:
        file.write(content[:at] + struct.pack("<I", size))
        file.truncate(at + 4 + size)  # a hole: it takes no room on the disk
    outcome, memory = outcome_and_memory(path)
    assert outcome == R.TOO_LARGE
    assert memory < 200


@pytest.mark.parametrize(
    ("rows", "columns"), [(20_000, 20_000), (7_746, 7_746), (65_535, 64), (64, 20_001), (60_001, 1_000)]
)
def test_images_of_too_many_pixels(rows: int, columns: int, tmp_path: Path) -> None:
    """By the header alone: their pixel data is not looked at."""
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), edit=put(Rows=rows, Columns=columns))
    assert reason(path) is R.TOO_LARGE


def with_frame(path: Path, syntax: uid.UID, shape: tuple[int, int], frame: bytes) -> Path:
    make_radiograph(path, limb_pixels(), edit=put(Rows=shape[0], Columns=shape[1]))
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


def test_run_lengths_of_more_pixels_than_there_are(tmp_path: Path) -> None:
    """Two bytes for 128 pixels: 20 MB would be 1.3 GB."""
    segment = b"\x81\x00" * 5_000_000
    header = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    path = with_frame(tmp_path / "i.dcm", uid.RLELossless, (96, 80), header + segment * 2)
    outcome, memory = outcome_and_memory(path)
    assert outcome == R.DECODE_FAILED
    assert memory < 200


def jpeg_2000(
    shape: tuple[int, int],
    *,
    levels: int = 5,
    block: int = 4,
    precinct: int | None = None,
    layers: int = 1,
    tile: int | None = None,
    in_tile_part: bool = False,
) -> bytes:
    """A stream of some coding parameters (ISO/IEC 15444-1 A.5, A.6) and hardly any data.

    Parameters
    ----------
    shape
        Rows and columns.
    levels
        Decomposition levels.
    block
        Exponent of the side of a code-block, less 2.
    precinct
        Exponent of the side of a precinct; None for the largest.
    layers
        Quality layers.
    tile
        Side of a tile in pixels; None for one tile.
    in_tile_part
        Give the parameters in the header of the tile-part, and harmless ones in the main header.
    """
    rows, columns = shape
    tile_sides = (tile or columns, tile or rows)
    size = struct.pack(">HHIIIIIIIIH3B", 41, 0, columns, rows, 0, 0, *tile_sides, 0, 0, 1, 11, 1, 1)
    style = _coding_style(levels, block, precinct, layers)
    steps = struct.pack(">HBB", 3 + 3 * levels + 1, 0x40, 0x48) + b"\x50" * 3 * levels
    local = style if in_tile_part else b""
    body = bytes(200)
    part = struct.pack(">HHHIBB", 0xFF90, 10, 0, 12 + len(local) + 2 + len(body), 0, 1)
    main = _coding_style(levels, 4, None, 1) if in_tile_part else style
    return (
        b"\xff\x4f\xff\x51"
        + size
        + main
        + b"\xff\x5c"
        + steps
        + part
        + local
        + b"\xff\x93"
        + body
        + b"\xff\xd9"
    )


def _coding_style(levels: int, block: int, precinct: int | None, layers: int) -> bytes:
    precincts = b"" if precinct is None else bytes([precinct | precinct << 4]) * (levels + 1)
    parameters = struct.pack(">BBHBBBBBB", precinct is not None, 0, layers, 0, levels, block, block, 0, 1)
    return struct.pack(">HH", 0xFF52, 2 + len(parameters) + len(precincts)) + parameters + precincts


@pytest.mark.parametrize("in_tile_part", [False, True])
@pytest.mark.parametrize(
    "parameters", [{"block": 0}, {"precinct": 1}, {"precinct": 6, "layers": 65_535}], ids=str
)
def test_jpeg_2000_in_too_many_pieces(parameters: dict[str, int], in_tile_part: bool, tmp_path: Path) -> None:
    """These three hundred bytes took a decoder gigabytes, or minutes."""
    frame = jpeg_2000((3000, 4000), **parameters, in_tile_part=in_tile_part)
    path = with_frame(tmp_path / "i.dcm", uid.JPEG2000Lossless, (3000, 4000), frame)
    outcome, memory = outcome_and_memory(path)
    assert outcome == R.TOO_LARGE
    assert memory < 200


def test_jpeg_2000_in_too_many_tiles(tmp_path: Path) -> None:
    frame = jpeg_2000((3000, 4000), tile=8)
    assert reason(with_frame(tmp_path / "i.dcm", uid.JPEG2000, (3000, 4000), frame)) is R.TOO_LARGE


@pytest.mark.parametrize("resolutions", [1, 6])
def test_usual_jpeg_2000_is_read(resolutions: int) -> None:
    pixels = limb_pixels(200, 300)
    options = {"reversible": True, "codecformat": "j2k", "resolutions": resolutions, "bitspersample": 12}
    frame = bytes(imagecodecs.jpeg2k_encode(pixels, **options))
    header = codestreams.jpeg_2000_header(frame)
    assert (header.rows, header.columns, header.components, header.precision) == (200, 300, 1, 12)
    assert frame[header.data_start :].startswith(b"\xff\x93")


def test_jpeg_of_too_many_scans(tmp_path: Path) -> None:
    frame = bytes(imagecodecs.jpeg8_encode(limb_pixels(bits=8), level=90))
    scan = frame[frame.index(b"\xff\xda") : -2]
    path = with_frame(
        tmp_path / "i.dcm", uid.JPEGBaseline8Bit, (96, 80), frame[:-2] + scan * 200 + frame[-2:]
    )
    assert reason(path) is R.TOO_LARGE


@pytest.mark.slow
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
def test_the_largest_image_takes_less_than_a_gibibyte(syntax: uid.UID, tmp_path: Path) -> None:
    """The bound that the conformance statement promises."""
    y, x = np.ogrid[:7500, :8000]
    pixels = (2000 + 1500 * np.sin(x / 500) * np.cos(y / 700) + x * y % 97).astype(np.uint16)
    path = make_radiograph(tmp_path / "i.dcm", pixels, bits_stored=12, transfer_syntax=syntax)
    outcome, memory = outcome_and_memory(path)
    assert outcome == "(7500, 8000)"
    assert pixels.size == stream.MAX_PIXELS
    assert memory < 1024
