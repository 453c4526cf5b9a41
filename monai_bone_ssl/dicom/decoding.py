"""Pixel Data to stored values, for every transfer syntax a radiograph comes in.

Compressed frames go straight to imagecodecs (libjpeg-turbo, CharLS, OpenJPEG) instead of through pydicom's
decoder plugins. Which plugin pydicom picks depends on what else is installed, and two decoders need not
agree on a lossy image: here a file gives the same pixels everywhere. The plugin it prefers, GDCM, also
ends the whole process on a damaged JPEG stream, which a service cannot afford.

Before a decoder sees a stream, its own header is compared with the DICOM header and its end is looked for:
the decoders allocate what the stream claims, and CharLS does not return from a stream cut short.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from imagecodecs import imagecodecs
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataelem import DataElement
from pydicom.encaps import generate_fragments

from monai_bone_ssl.dicom.codestreams import StreamHeader, jpeg_2000_header, jpeg_header
from monai_bone_ssl.errors import CorruptImage, ReasonCode
from monai_bone_ssl.notes import Note, NoteCode
from monai_bone_ssl.threads import available_cores

__all__ = ["TRANSFER_SYNTAXES", "PixelFormat", "decode_frame"]

_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG_2000 = (*uid.JPEG2000TransferSyntaxes, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
_NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)

# What imagecodecs raises on a damaged stream: its own errors are RuntimeErrors, the rest argument errors.
_CODEC_ERRORS = (RuntimeError, ValueError, TypeError, OverflowError, MemoryError)
# What pydicom.encaps raises on damaged encapsulation.
_ENCAPSULATION_ERRORS = (ValueError, EOFError, struct.error, OverflowError)

_END_OF_IMAGE = b"\xff\xd9"  # of JPEG and JPEG-LS, and JPEG 2000's End of Codestream
_STARTS_OF_IMAGE = (b"\xff\xd8", b"\xff\x4f", b"\0\0\0\x0cjP")  # of JPEG and JPEG-LS, JPEG 2000, JP2 boxes


@dataclass(frozen=True)
class PixelFormat:
    """How pixels are stored (Image Pixel module, PS3.3 C.7.6.3), for one sample a pixel."""

    transfer_syntax: uid.UID
    rows: int
    columns: int
    bits_allocated: int
    """8 or 16."""
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.rows, self.columns


def decode_frame(pixel_data: DataElement, pixel_format: PixelFormat, notes: list[Note]) -> NDArray[np.uint16]:
    """Decode the only frame of a monochrome image.

    Parameters
    ----------
    pixel_data
        The (7FE0,0010) Pixel Data element.
    pixel_format
        What the header says about it.
    notes
        Where to add what was put right.

    Returns
    -------
    [H, W] codes in [0, 2^bits_stored): the stored bits of each pixel, right-aligned, not yet sign-extended,
    without whatever else the file keeps in the unused bits (old files hold overlays there).

    Raises
    ------
    CorruptImage
        ``UNSUPPORTED_TRANSFER_SYNTAX``, ``TRUNCATED_FILE``, ``DECODE_FAILED``, or ``INVALID_HEADER`` where
        the pixels are a picture of another width than the header says.
    """
    syntax = pixel_format.transfer_syntax
    precision = pixel_format.bits_allocated
    if syntax in _NATIVE:
        words = _shaped(_native(pixel_data, pixel_format), pixel_format, notes)
    elif syntax == uid.RLELossless:
        words = _shaped(_run_length(_only_frame(pixel_data, notes), pixel_format), pixel_format, notes)
    elif syntax in _STREAMS:
        words, precision = _codestream(_only_frame(pixel_data, notes), pixel_format, notes)
    else:
        raise CorruptImage(ReasonCode.UNSUPPORTED_TRANSFER_SYNTAX, f"No decoder for {_syntax_name(syntax)}")
    return _stored_codes(words.astype(np.uint16, copy=False), precision, pixel_format)


def _stored_codes(words: NDArray[np.uint16], precision: int, pixel_format: PixelFormat) -> NDArray[np.uint16]:
    """Stored bits of each sample [H, W] of ``precision`` bits, right-aligned.

    A stream of as many bits as are allocated holds the whole word, with High Bit where the header says it is;
    a stream of fewer bits was shifted down before it was compressed, and its own uppermost bit is High Bit.
    Where a stream has fewer bits than are stored, its uppermost bit is the sign of signed values.
    """
    stored = pixel_format.bits_stored
    shift = max(min(pixel_format.high_bit + 1, precision) - stored, 0)
    if pixel_format.signed and precision < stored:
        sign = np.uint16(1 << (precision - 1))
        words = (words & np.uint16((1 << precision) - 1) ^ sign) - sign
    return (words >> np.uint16(shift)) & np.uint16((1 << stored) - 1)


def _syntax_name(syntax: uid.UID) -> str:
    return f"transfer syntax {syntax.name}" if syntax.is_valid else "an invalid transfer syntax UID"


def _native(pixel_data: DataElement, pixel_format: PixelFormat) -> NDArray[Any]:
    """Uncompressed pixels as unsigned words, those of the image first."""
    data = pixel_data.value
    expected = pixel_format.rows * pixel_format.columns * pixel_format.bits_allocated // 8
    if len(data) < expected:
        raise CorruptImage(
            ReasonCode.TRUNCATED_FILE, f"Pixel Data has {len(data)} bytes, expected {expected} for its size"
        )
    big_endian = pixel_format.transfer_syntax == uid.ExplicitVRBigEndian
    if pixel_format.bits_allocated == 16:
        return np.frombuffer(data, ">u2" if big_endian else "<u2", len(data) // 2)
    if big_endian and pixel_data.VR == "OW":  # PS3.5 8.1.2: bytes travel in 16-bit words
        even = data + b"\0" if len(data) % 2 else data
        return np.frombuffer(even, ">u2").astype("<u2").view(np.uint8)
    return np.frombuffer(data, np.uint8)


def _shaped(words: NDArray[Any], pixel_format: PixelFormat, notes: list[Note]) -> NDArray[Any]:
    """The image's words [H, W], without what comes after them (PS3.5 8.1.1: to be ignored)."""
    count = pixel_format.rows * pixel_format.columns
    image = words[:count].reshape(pixel_format.shape)
    excess = words.size - count
    if excess > 1:  # one is padding
        columns, rest = divmod(words.size, pixel_format.rows)
        if not rest and _roughness(words.reshape(-1, columns)) < 0.9 * _roughness(image):
            raise CorruptImage(
                ReasonCode.INVALID_HEADER,
                f"Pixel Data is a picture of {columns} columns, the header says {pixel_format.columns}",
            )
        notes.append(Note(NoteCode.EXCESS_PIXEL_DATA, f"{excess} pixels after the image's last were ignored"))
    return image


def _roughness(words: NDArray[Any]) -> float:
    """Mean difference of pixels that lie some rows apart in a column: large where rows are sheared."""
    few = words[:, :: max(1, words.shape[1] // 256)].astype(np.float32)
    return float(np.mean([np.abs(few[apart:] - few[:-apart]).mean() for apart in (2, 7, 23)]))


def _only_frame(pixel_data: DataElement, notes: list[Note]) -> bytes:
    """All fragments of the one frame, whatever the Basic Offset Table says of them."""
    try:
        table, *fragments = generate_fragments(pixel_data.value)
    except _ENCAPSULATION_ERRORS as error:
        raise CorruptImage(
            ReasonCode.DECODE_FAILED, "Pixel Data is not a valid sequence of encapsulated fragments"
        ) from error
    if table.startswith(_STARTS_OF_IMAGE):
        notes.append(Note(NoteCode.OFFSET_TABLE, "there is no Basic Offset Table, not even an empty one"))
        fragments.insert(0, table)
    elif table.strip(b"\0"):  # the first frame is at 0
        notes.append(Note(NoteCode.OFFSET_TABLE, "the Basic Offset Table is wrong for one frame: ignored"))
    return b"".join(fragments)


def _run_length(frame: bytes, pixel_format: PixelFormat) -> NDArray[Any]:
    """Pixels as unsigned words, those of the image first."""
    dtype = np.dtype(f"<u{pixel_format.bits_allocated // 8}")
    count = pixel_format.rows * pixel_format.columns
    room = bytearray(2 * (count + 1) * dtype.itemsize)  # for excess pixels, but not for any number of them
    try:
        words = np.frombuffer(imagecodecs.dicomrle_decode(frame, dtype, out=room), dtype)
    except _CODEC_ERRORS as error:
        raise CorruptImage(ReasonCode.DECODE_FAILED, "The RLE data is damaged") from error
    if words.size < count:
        raise CorruptImage(
            ReasonCode.DECODE_FAILED, f"The RLE data holds {words.size} pixels, expected {count}"
        )
    return words


def _codestream(frame: bytes, pixel_format: PixelFormat, notes: list[Note]) -> tuple[NDArray[np.uint16], int]:
    """Samples [H, W] of a JPEG, JPEG-LS or JPEG 2000 stream, and their bits."""
    read_header, decode, name = _STREAMS[pixel_format.transfer_syntax]
    try:
        stream = read_header(frame)
    except (ValueError, IndexError, struct.error) as error:
        raise CorruptImage(ReasonCode.DECODE_FAILED, f"The {name} stream has no valid header") from error
    _check_stream(stream, pixel_format, name)
    end = frame.rfind(_END_OF_IMAGE, stream.data_start) + len(_END_OF_IMAGE)
    if end < len(_END_OF_IMAGE):
        raise CorruptImage(ReasonCode.TRUNCATED_FILE, f"The {name} stream stops before its end marker")
    if len(frame) - end > 1:  # one byte pads the last fragment
        text = f"{len(frame) - end} bytes after the end of the {name} stream were ignored"
        notes.append(Note(NoteCode.EXCESS_PIXEL_DATA, text))
    dtype = np.dtype(f"{'i' if stream.signed else 'u'}{1 if stream.precision <= 8 else 2}")
    try:
        decoded: NDArray[Any] = decode(frame[:end], out=np.empty(pixel_format.shape, dtype))
    except _CODEC_ERRORS as error:
        raise CorruptImage(ReasonCode.DECODE_FAILED, f"The {name} stream is damaged") from error
    wide = decoded.astype(np.int16 if stream.signed else np.uint16)
    return wide.view(np.uint16), stream.precision


def _check_stream(stream: StreamHeader, pixel_format: PixelFormat, name: str) -> None:
    found = (stream.rows, stream.columns, stream.components)
    expected = (*pixel_format.shape, 1)
    if found != expected:
        raise CorruptImage(
            ReasonCode.DECODE_FAILED,
            f"The {name} stream has {found} rows, columns, components, the header says {expected}",
        )
    if not 2 <= stream.precision <= 16:
        raise CorruptImage(ReasonCode.DECODE_FAILED, f"The {name} stream has {stream.precision} bits a pixel")


# OpenJPEG is by far the slowest of them, and can use threads.
_decode_jpeg_2000 = partial(imagecodecs.jpeg2k_decode, numthreads=available_cores())

_Stream = tuple[Callable[[bytes], StreamHeader], Callable[..., NDArray[Any]], str]
_STREAMS: dict[str, _Stream] = {
    **dict.fromkeys(_JPEG, (jpeg_header, imagecodecs.jpeg8_decode, "JPEG")),
    **dict.fromkeys(uid.JPEGLSTransferSyntaxes, (jpeg_header, imagecodecs.jpegls_decode, "JPEG-LS")),
    **dict.fromkeys(_JPEG_2000, (jpeg_2000_header, _decode_jpeg_2000, "JPEG 2000")),
}

#: All transfer syntaxes that :func:`decode_frame` decodes.
TRANSFER_SYNTAXES = (*_NATIVE, uid.RLELossless, *_STREAMS)
