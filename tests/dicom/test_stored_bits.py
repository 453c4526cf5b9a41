"""The stored bits of every pixel, wherever High Bit puts them in the word and however many bits a stream has.

DCMTK is the second reader; pydicom and GDCM take every stream to be right-aligned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import pytest
from dicom_factory import encode_frame, limb_pixels, make_radiograph
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from reading import normalised
from validators import run_tool

from monai_bone_ssl.dicom.decoding import PixelFormat, decode_frame
from monai_bone_ssl.dicom.radiograph import read_radiograph

NATIVE = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian)
STREAMS = (uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.HTJ2KLossless)
SHAPE = (64, 65)


class Layout(NamedTuple):
    """Where the stored bits of a pixel are."""

    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def shift(self) -> int:
        return self.high + 1 - self.stored


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    allocated = draw(st.sampled_from((8, 16)))
    stored = draw(st.integers(6, allocated))
    return Layout(allocated, stored, draw(st.integers(stored - 1, allocated - 1)), draw(st.booleans()))


def codes(layout: Layout, seed: int = 0) -> Any:
    """[H, W] stored bits as unsigned numbers."""
    pixels = limb_pixels(*SHAPE, layout.stored, layout.signed, seed).astype(np.int64)
    pixels[0, :2] = (pixels.min(), pixels.max()) if layout.signed else (0, (1 << layout.stored) - 1)
    return pixels & ((1 << layout.stored) - 1)


def words(layout: Layout, seed: int = 0) -> Any:
    """[H, W] of the words in memory, with remains of something else in the unused bits."""
    noise = np.random.default_rng(seed).integers(0, 1 << layout.allocated, SHAPE)
    unused = ((1 << layout.allocated) - 1) ^ (((1 << layout.stored) - 1) << layout.shift)
    return codes(layout, seed) << layout.shift | (noise & unused)


def pixel_format(layout: Layout, syntax: uid.UID) -> PixelFormat:
    return PixelFormat(syntax, *SHAPE, layout.allocated, layout.stored, layout.high, layout.signed)


def frame_of(samples: Any, precision: int, syntax: uid.UID, signed: bool) -> bytes:
    """Encode [H, W] samples of ``precision`` bits; only JPEG 2000 streams have signed samples."""
    width = 1 if precision <= 8 else 2
    samples = samples & ((1 << precision) - 1)
    if signed and syntax == uid.JPEG2000Lossless:
        sign = 1 << (precision - 1)
        return encode_frame(((samples ^ sign) - sign).astype(f"i{width}"), precision, syntax)
    if syntax == uid.JPEGLSLossless:  # the encoder takes the precision from the largest sample
        samples[-1, -1] |= 1 << (precision - 1)
    return encode_frame(samples.astype(f"u{width}"), precision, syntax)


def element(frame: bytes) -> Any:
    holder = Dataset()
    holder.add_new("PixelData", "OB", encapsulate([frame + b"\0" * (len(frame) % 2)]))
    return holder["PixelData"]


EXAMPLES = settings(max_examples=80, derandomize=True, database=None, deadline=None)


@EXAMPLES
@given(layout=layouts(), syntax=st.sampled_from((*NATIVE, uid.ExplicitVRBigEndian, uid.RLELossless)))
def test_words_as_they_are_in_memory(layout: Layout, syntax: uid.UID) -> None:
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    array = words(layout).astype(f"{order}u{layout.allocated // 8}")
    holder = Dataset()
    holder.add_new("PixelData", "OW" if layout.allocated == 16 else "OB", array.tobytes())
    data = holder["PixelData"]
    if syntax == uid.RLELossless:
        data = element(encode_frame(array, layout.allocated, syntax))
    np.testing.assert_array_equal(decode_frame(data, pixel_format(layout, syntax), []), codes(layout))


@EXAMPLES
@given(layout=layouts(), syntax=st.sampled_from(STREAMS))
def test_streams_of_whole_words(layout: Layout, syntax: uid.UID) -> None:
    """As DCMTK writes them: all allocated bits, with High Bit where the header says."""
    frame = frame_of(words(layout), layout.allocated, syntax, layout.signed)
    found = decode_frame(element(frame), pixel_format(layout, syntax), [])
    np.testing.assert_array_equal(found.ravel()[:-1], codes(layout).ravel()[:-1])


@EXAMPLES
@given(
    layout=layouts(), syntax=st.sampled_from(STREAMS[:-1]), above=st.integers(0, 10), low=st.integers(0, 10)
)
def test_streams_of_fewer_bits(layout: Layout, syntax: uid.UID, above: int, low: int) -> None:
    """Up to High Bit or beyond it, or shifted down so that High Bit is the stream's uppermost bit."""
    dropped = 0 if above else min(low, layout.shift)
    precision = min(layout.high + 1 + above, layout.allocated) - dropped
    assume(syntax != uid.JPEGLSLossless or precision > 8)  # the encoder writes 8 bits at least
    frame = frame_of(words(layout) >> dropped, precision, syntax, layout.signed)
    found = decode_frame(element(frame), pixel_format(layout, syntax), [])
    np.testing.assert_array_equal(found.ravel()[:-1], codes(layout).ravel()[:-1])


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: syntax.name)
def test_negative_values_in_a_stream_of_fewer_bits_than_are_stored(syntax: uid.UID) -> None:
    """A header that says 16 bits over a stream of 8: the stream's uppermost bit is the sign."""
    narrow = Layout(8, 8, 7, signed=True)
    frame = frame_of(codes(narrow), 8, syntax, signed=True)
    found = decode_frame(element(frame), pixel_format(Layout(16, 16, 15, signed=True), syntax), [])
    expected = codes(narrow).astype(np.uint8).view(np.int8)
    np.testing.assert_array_equal(found.view(np.int16).ravel()[:-1], expected.ravel()[:-1])


def write(path: Path, layout: Layout) -> Path:
    def put_words(dataset: Dataset) -> None:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = layout[:3]
        dataset.PixelRepresentation = int(layout.signed)
        dataset["PixelData"].VR = "OW"
        dataset.PixelData = (codes(layout) << layout.shift).astype(f"<u{layout.allocated // 8}").tobytes()

    return make_radiograph(path, limb_pixels(*SHAPE), edit=put_words)


def stored(path: Path) -> Any:
    """[H, W] stored bits of an uncompressed file."""
    dataset = pydicom.dcmread(path)
    array = np.frombuffer(dataset.PixelData, f"<u{dataset.BitsAllocated // 8}", SHAPE[0] * SHAPE[1])
    shift = dataset.HighBit + 1 - dataset.BitsStored
    return (array.reshape(SHAPE).astype(np.int64) >> shift) & ((1 << dataset.BitsStored) - 1)


LAYOUTS = [
    Layout(16, 12, 15, signed=False),
    Layout(16, 12, 15, signed=True),
    Layout(16, 10, 15, signed=False),
    Layout(16, 10, 13, signed=True),
    Layout(16, 12, 11, signed=True),
    Layout(16, 16, 15, signed=True),
    Layout(16, 8, 15, signed=False),
    Layout(8, 6, 7, signed=False),
    Layout(8, 7, 6, signed=True),
]
COMPRESS = [("dcmcjpls", "+el"), ("dcmcjpeg", "+e1"), ("dcmcjpeg", "+el"), ("dcmcrle",)]


@pytest.mark.parametrize("command", COMPRESS, ids=" ".join)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_what_dcmtk_compressed_is_read_as_dcmtk_reads_it(
    layout: Layout, command: tuple[str, ...], tmp_path: Path
) -> None:
    plain, small, large = (tmp_path / name for name in ("plain.dcm", "small.dcm", "large.dcm"))
    write(plain, layout)
    assert run_tool(*command, plain, small).returncode == 0
    assert run_tool(command[0].replace("dcmc", "dcmd"), small, large).returncode == 0
    np.testing.assert_array_equal(stored(large), codes(layout))
    for path in (plain, small, large):
        shown = read_radiograph(path).pixels
        signed = codes(layout)
        if layout.signed:
            signed = np.where(signed >> (layout.stored - 1), signed - (1 << layout.stored), signed)
        np.testing.assert_allclose(shown, normalised(signed), atol=1e-6)


@pytest.mark.parametrize(
    ("layout", "precision"),
    [
        (Layout(16, 12, 15, signed=False), 12),
        (Layout(16, 10, 15, signed=False), 12),
        (Layout(16, 10, 15, signed=False), 16),
        (Layout(16, 10, 11, signed=True), 14),
        (Layout(16, 16, 15, signed=False), 12),
    ],
)
def test_dcmtk_reads_lossless_jpeg_alike(layout: Layout, precision: int, tmp_path: Path) -> None:
    """Streams of every precision that stored bits may have."""
    path = write(tmp_path / "plain.dcm", layout._replace(high=layout.stored - 1))
    dataset = pydicom.dcmread(path)
    bits = min(layout.stored, precision)
    aligned = (codes(layout) >> (layout.stored - bits)) << (min(layout.high + 1, precision) - bits)
    dataset.file_meta.TransferSyntaxUID = uid.JPEGLosslessSV1
    dataset.HighBit = layout.high
    dataset["PixelData"] = element(frame_of(aligned, precision, uid.JPEGLosslessSV1, signed=False))
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    assert run_tool("dcmdjpeg", path, tmp_path / "large.dcm").returncode == 0
    found = decode_frame(dataset["PixelData"], pixel_format(layout, uid.JPEGLosslessSV1), [])
    np.testing.assert_array_equal(found, stored(tmp_path / "large.dcm"))


@pytest.mark.parametrize("syntax", [uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K])
@pytest.mark.parametrize("layout", [Layout(16, 10, 11, signed=False), Layout(16, 12, 15, signed=False)])
def test_lossy_streams_of_left_aligned_words(layout: Layout, syntax: uid.UID) -> None:
    precision = {uid.JPEGExtended12Bit: 12, uid.JPEG2000: layout.high + 1}.get(syntax, 16)
    pixels = limb_pixels(*SHAPE, layout.stored)
    aligned = pixels << (min(layout.high + 1, precision) - layout.stored)
    frame = encode_frame(aligned.astype(np.uint16), precision, syntax)
    found = decode_frame(element(frame), pixel_format(layout, syntax), []).astype(int)
    assert np.abs(found - pixels).max() <= 0.03 * (1 << layout.stored)
