"""An overlay as a PNG file that carries its own thumbnail."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from imagecodecs import imagecodecs
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.files import write_atomically

__all__ = ["Thumbnail", "attach_thumbnail", "encode_thumbnail", "read_thumbnail", "write_png"]

#: Base64 of a JPEG, and its width and height in pixels: a small picture to embed.
Thumbnail = tuple[str, tuple[int, int]]

_PNG_HEADER = 33  # bytes of signature and IHDR, which come before anything else
# PNG text entry with a small JPEG, so that a page of overlays need not decode them.
_KEY = "Thumbnail"
_SIDE = 300  # pixels


def write_png(image: Image.Image, path: Path) -> None:
    """Write a picture as PNG, whole or not at all.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where the file system refuses.
    """
    # One filter for all rows and the fastest compression: a third of Pillow's time for a sixth more bytes.
    png = imagecodecs.png_encode(np.asarray(image), level=1, filter=imagecodecs.PNG.FILTER.UP)
    text = io.BytesIO()
    if _KEY in image.info:
        entry = f"{_KEY}\0{image.info[_KEY]}"
        PngImagePlugin.putchunk(text, b"tEXt", entry.encode("latin-1"))
    write_atomically(path, png[:_PNG_HEADER] + text.getvalue() + png[_PNG_HEADER:])


def read_thumbnail(path: Path) -> Thumbnail:
    """Read the coloured radiograph in small out of an overlay by :func:`write_png`.

    Raises
    ------
    ReportError
        ``REPORT_FAILED`` where the file cannot be read or is not an overlay.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:  # reads what comes before the pixels, not the pixels
            width, height, jpeg = image.info[_KEY].split(",")
            return jpeg, (int(width), int(height))
    except (OSError, UnidentifiedImageError, ValueError, KeyError) as error:
        raise ReportError(
            ReasonCode.REPORT_FAILED, f"{path}: is not a readable overlay of this software"
        ) from error


def attach_thumbnail(picture: Image.Image, shown: Image.Image) -> None:
    """Let :func:`write_png` store another picture in small beside a picture: about 8 kB of text."""
    small = shown.copy()
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    jpeg, (width, height) = encode_thumbnail(small)
    picture.info[_KEY] = f"{width},{height},{jpeg}"


def encode_thumbnail(picture: Image.Image) -> Thumbnail:
    """A small picture as text that a page can embed."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=78, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii"), picture.size
