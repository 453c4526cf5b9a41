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
from pydicom.encaps import get_frame

from monai_bone_ssl.dicom.codestreams import StreamHeader, jpeg_2000_header, jpeg_header
from monai_bone_ssl.errors import CorruptImage, ReasonCode
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


def decode_frame(pixel_data: DataElement, pixel_format: PixelFormat) -> NDArray[np.uint16]:
    """Decode the only frame of a monochrome image.

    Parameters
    ----------
    pixel_data
        The (7FE0,0010) Pixel Data element.
    pixel_format
        What the header says about it.

    Returns
    -------
    [H, W] codes in [0, 2^bits_stored): the stored bits of each pixel, right-aligned, not yet sign-extended,
    without whatever else the file keeps in the unused bits (old files hold overlays there).

    Raises
    ------
    CorruptImage
        ``UNSUPPORTED_TRANSFER_SYNTAX``, ``TRUNCATED_FILE``, ``DECODE_FAILED``, or ``INVALID_HEADER`` where
        the pixel data does not have the size the header says.
    """
    syntax = pixel_format.transfer_syntax
    precision = pixel_format.bits_allocated
    if syntax in _NATIVE:
        words = _native(pixel_data, pixel_format)
    elif syntax == uid.RLELossless:
        words = _run_length(_only_frame(pixel_data), pixel_format)
    elif syntax in _STREAMS:
        words, precision = _codestream(_only_frame(pixel_data), pixel_format)
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
    """Uncompressed pixels as unsigned words [H, W]."""
    data = pixel_data.value
    row_bytes = pixel_format.columns * pixel_format.bits_allocated // 8
    expected = pixel_format.rows * row_bytes
    if len(data) < expected:
        raise CorruptImage(
            ReasonCode.TRUNCATED_FILE, f"Pixel Data has {len(data)} bytes, expected {expected} for its size"
        )
    if len(data) >= expected + max(row_bytes, 2):  # a spare row: Rows or Columns is wrong
        raise CorruptImage(
            ReasonCode.INVALID_HEADER, f"Pixel Data has {len(data)} bytes, Rows and Columns say {expected}"
        )
    big_endian = pixel_format.transfer_syntax == uid.ExplicitVRBigEndian
    if pixel_format.bits_allocated == 16:
        words = np.frombuffer(data, ">u2" if big_endian else "<u2", count=expected // 2)
    elif big_endian and pixel_data.VR == "OW":  # PS3.5 8.1.2: bytes travel in 16-bit words
        even = data + b"\0" if len(data) % 2 else data
        words = np.frombuffer(even, ">u2").astype("<u2").view(np.uint8)[:expected]
    else:
        words = np.frombuffer(data, np.uint8, count=expected)
    return words.reshape(pixel_format.shape)


def _only_frame(pixel_data: DataElement) -> bytes:
    try:
        frame: bytes = get_frame(pixel_data.value, 0, number_of_frames=1)
    except _ENCAPSULATION_ERRORS as error:
        raise CorruptImage(
            ReasonCode.DECODE_FAILED, "Pixel Data is not a valid sequence of encapsulated fragments"
        ) from error
    return frame


def _run_length(frame: bytes, pixel_format: PixelFormat) -> NDArray[Any]:
    dtype = np.dtype(f"<u{pixel_format.bits_allocated // 8}")
    count = pixel_format.rows * pixel_format.columns
    room = bytearray((count + 1) * dtype.itemsize)  # an odd segment is padded by a byte, which may be decoded
    try:
        words = np.frombuffer(imagecodecs.dicomrle_decode(frame, dtype, out=room), dtype)
    except _CODEC_ERRORS as error:
        raise CorruptImage(ReasonCode.DECODE_FAILED, "The RLE data is damaged") from error
    if words.size < count:
        raise CorruptImage(
            ReasonCode.DECODE_FAILED, f"The RLE data holds {words.size} pixels, expected {count}"
        )
    return words[:count].reshape(pixel_format.shape)


def _codestream(frame: bytes, pixel_format: PixelFormat) -> tuple[NDArray[np.uint16], int]:
    """Samples [H, W] of a JPEG, JPEG-LS or JPEG 2000 stream, and their bits."""
    read_header, decode, name = _STREAMS[pixel_format.transfer_syntax]
    try:
        stream = read_header(frame)
    except (ValueError, IndexError, struct.error) as error:
        raise CorruptImage(ReasonCode.DECODE_FAILED, f"The {name} stream has no valid header") from error
    _check_stream(stream, pixel_format, name)
    if _END_OF_IMAGE not in frame[-16:]:  # a few bytes may pad the last fragment
        raise CorruptImage(ReasonCode.TRUNCATED_FILE, f"The {name} stream stops before its end marker")
    dtype = np.dtype(f"{'i' if stream.signed else 'u'}{1 if stream.precision <= 8 else 2}")
    try:
        decoded: NDArray[Any] = decode(frame, out=np.empty(pixel_format.shape, dtype))
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
