"""What a JPEG, JPEG-LS or JPEG 2000 stream says of itself, read before a decoder sees it.

Decoders allocate what a stream claims, and go on for as long as it says: three hundred bytes of JPEG 2000 can
ask for gigabytes in blocks and packets of nothing. What no writer of radiographs asks for is refused here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from monai_bone_ssl.errors import ReasonCode, UnsupportedImage

__all__ = ["StreamHeader", "jpeg_2000_header", "jpeg_header"]

_MAX_SCANS = 100  # of a JPEG stream; a sequential one of a single component has one
# Of a JPEG 2000 stream; usual are one tile, blocks of 64 x 64 pixels, precincts of 128 x 128 and ten layers.
_MAX_TILES = 10_000
_MAX_BLOCKS = 500_000
_MAX_PRECINCTS = 50_000
_MAX_PACKETS = 2_000_000

_SOT, _SOD, _EOC, _COD, _COC = 0xFF90, 0xFF93, 0xFFD9, 0xFF52, 0xFF53


@dataclass(frozen=True)
class StreamHeader:
    """Size and kind of the samples of a stream."""

    rows: int
    columns: int
    components: int
    """Samples a pixel."""
    precision: int
    """Bits of a sample."""
    signed: bool
    data_start: int
    """Where coded data begins in the stream, in bytes; its end is to be looked for from there."""


def jpeg_header(frame: bytes) -> StreamHeader:
    """Find the frame header (SOF) of a JPEG or JPEG-LS stream (ISO/IEC 10918-1 B.2, 14495-1 C.2.2).

    Raises
    ------
    UnsupportedImage
        ``TOO_LARGE`` where the image is coded in more scans than any writer uses.
    ValueError, struct.error
        Where there is none.
    """
    if not frame.startswith(b"\xff\xd8"):
        raise ValueError("no start of image")
    if frame.count(b"\xff\xda") > _MAX_SCANS:
        raise _too_large("scans", _MAX_SCANS)
    position, size = 2, None
    while True:
        prefix, marker, length = struct.unpack_from(">BBH", frame, position)
        if prefix != 0xFF:
            raise ValueError("no marker")
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            size = struct.unpack_from(">BHHB", frame, position + 4)
        position += 2 + length
        if marker == 0xDA:
            if size is None:
                raise ValueError("a scan before its frame header")
            precision, rows, columns, components = size
            return StreamHeader(rows, columns, components, precision, signed=False, data_start=position)


def jpeg_2000_header(frame: bytes) -> StreamHeader:
    """Read the image and tile size (SIZ) of a codestream, bare or in JP2 boxes (ISO/IEC 15444-1 A.5.1).

    Raises
    ------
    UnsupportedImage
        ``TOO_LARGE`` where the image is coded in more pieces than any writer uses.
    ValueError, struct.error
        Where there is no such header.
    """
    start = frame.index(b"\xff\x4f\xff\x51") + 2
    width, height, left, top, tile_width, tile_height = struct.unpack_from(">6I", frame, start + 6)
    components, depth, step_x, step_y = struct.unpack_from(">H3B", frame, start + 38)
    columns, rows = width - left, height - top
    if (step_x, step_y) != (1, 1) or min(columns, rows, tile_width, tile_height) < 1:
        raise ValueError("subsampled, or of no size")
    tile = (min(tile_width, columns), min(tile_height, rows))
    tiles = _pieces((columns, rows), tile)
    if tiles > _MAX_TILES:
        raise _too_large("tiles", _MAX_TILES)
    layers = 1
    for marker, content in _segments(frame, start):
        if marker == _COD:
            layers = max(layers, struct.unpack_from(">H", frame, content + 2)[0])
        if marker in (_COD, _COC):
            has_precincts = bool(frame[content + (marker == _COC)] & 1)
            _check_style(frame[content + (5 if marker == _COD else 2) :], has_precincts, tile, tiles, layers)
    precision, signed = (depth & 0x7F) + 1, bool(depth & 0x80)
    return StreamHeader(rows, columns, components, precision, signed, frame.index(b"\xff\x93", start))


def _segments(frame: bytes, position: int) -> Iterator[tuple[int, int]]:
    """Marker segments of the main header and of all tile-parts: marker, and where its parameters begin."""
    tile_part, size = 0, 0
    while position + 4 <= len(frame):
        marker, length = struct.unpack_from(">HH", frame, position)
        if marker == _SOD and size:  # the tile-part's data; without a size it reaches to the end
            position = tile_part + size
            continue
        if marker in (_SOD, _EOC):
            return
        if marker == _SOT:
            tile_part, size = position, struct.unpack_from(">I", frame, position + 6)[0]
            if 0 < size < 14:
                raise ValueError("a tile-part shorter than its header")
        yield marker, position + 4
        position += 2 + length


def _check_style(style: bytes, has_precincts: bool, tile: tuple[int, int], tiles: int, layers: int) -> None:
    """Refuse coding parameters (SPcod, A.6.1) that cut tiles of a width and height into too many pieces."""
    levels, block_x, block_y = style[0], style[1] + 2, style[2] + 2
    if levels > 32:
        raise ValueError("too many decomposition levels")
    blocks = tiles * (_pieces(tile, (1 << block_x, 1 << block_y)) + 3 * levels + 1)
    precincts = 0
    for level in range(levels + 1):
        exponents = style[5 + level] if has_precincts else 0xFF
        shrunk = levels - level
        sides = (1 << (shrunk + (exponents & 15)), 1 << (shrunk + (exponents >> 4)))
        precincts += tiles * _pieces(tile, sides)
    for name, count, limit in (
        ("blocks", blocks, _MAX_BLOCKS),
        ("precincts", precincts, _MAX_PRECINCTS),
        ("packets", precincts * layers, _MAX_PACKETS),
    ):
        if count > limit:
            raise _too_large(name, limit)


def _pieces(area: tuple[int, int], piece: tuple[int, int]) -> int:
    """How many pieces of one width and height cover an area of another."""
    return -(-area[0] // piece[0]) * -(-area[1] // piece[1])


def _too_large(what: str, limit: int) -> UnsupportedImage:
    return UnsupportedImage(
        ReasonCode.TOO_LARGE, f"The image is coded in too many {what}: expected at most {limit}"
    )
