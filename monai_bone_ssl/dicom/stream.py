"""Bytes of a DICOM file, never more of them than a limit: a small file may claim or unpack to anything.

What is read is bounded where it is read: the image by its number of pixels, a header by its bytes and its
elements, a deflated data set while it is inflated. With these limits, reading one image takes less than
1 GiB of memory, whatever the file says (measured in the tests).
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from monai_bone_ssl.errors import ReasonCode, UnsupportedImage

__all__ = ["MAX_DATA_SET", "MAX_HEADER", "MAX_PIXELS", "file_name", "inflate", "metered"]

#: Pixels of the largest image that is read. The largest detectors have 20 million.
MAX_PIXELS = 60_000_000

#: Bytes of the largest header.
MAX_HEADER = 32 << 20
#: Bytes of the largest data set: 16 bits a pixel, and a header.
MAX_DATA_SET = 2 * MAX_PIXELS + MAX_HEADER

# Every read counts some bytes more, for what is made of an element in memory.
_COST_OF_A_READ = 256
_CHUNK = 1 << 20


def file_name(path: Path) -> str:
    """Name of a file, on one line whatever it contains."""
    return path.name if path.name.isprintable() else ascii(path.name)


def metered(stream: BinaryIO, path: Path, limit: int) -> BinaryIO:
    """A file or buffer, from where it stands, that refuses to be read beyond a limit.

    Parameters
    ----------
    stream
        What is read.
    path
        How errors name the file.
    limit
        Bytes that may be read in all.

    Returns
    -------
    A stream that can be read and sought in. Reading raises UnsupportedImage with ``TOO_LARGE`` at the limit;
    seeking raises EOFError where an element that is skipped claims more bytes than there are.
    """
    return cast(BinaryIO, _MeteredStream(stream, path, limit))


class _MeteredStream:
    def __init__(self, stream: BinaryIO, path: Path, limit: int) -> None:
        self._stream, self._path = stream, path
        self._limit, self._read = limit, 0
        start = stream.tell()
        self._end = stream.seek(0, io.SEEK_END)
        stream.seek(start)

    def read(self, size: int = -1) -> bytes:
        rest = max(self._end - self._stream.tell(), 0)
        size = rest if size < 0 else min(size, rest)  # nothing is allocated for bytes that are not there
        self._read += size + _COST_OF_A_READ
        if self._read > self._limit:
            raise _too_large(self._path, "takes", self._limit)
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = self._stream.seek(offset, whence)
        if position > self._end:
            raise EOFError("an element ends beyond the file")
        return position

    def tell(self) -> int:
        return self._stream.tell()


def inflate(stream: BinaryIO, path: Path) -> BinaryIO:
    """Unpack a deflated data set (PS3.5 A.5) from where the file stands.

    Writers may pad the compressed data with a byte (PS3.5 A.5), which is left.

    Returns
    -------
    The data set, from its start.

    Raises
    ------
    UnsupportedImage
        ``TOO_LARGE``, as soon as it is.
    zlib.error
        Where the data is damaged.
    EOFError
        Where it stops before its end.
    """
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO()
    while not inflater.eof:
        waiting = inflater.unconsumed_tail or stream.read(_CHUNK)
        piece = inflater.decompress(waiting, _CHUNK)
        if not waiting and not piece:
            raise EOFError("the deflated data stops before its end")
        inflated.write(piece)
        if inflated.tell() > MAX_DATA_SET:
            raise _too_large(path, "inflates to", MAX_DATA_SET)
    inflated.seek(0)
    return inflated


def _too_large(path: Path, verb: str, limit: int) -> UnsupportedImage:
    return UnsupportedImage(ReasonCode.TOO_LARGE, f"{file_name(path)} {verb} more than {limit} bytes")
