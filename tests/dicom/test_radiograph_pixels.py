"""Pixels of radiographs in every transfer syntax: against ITK, DCMTK and what was encoded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_factory import CR, DX, LOSSLESS, LOSSY, XRF, limb_pixels, lut_item, make_radiograph
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from pydicom_files import real_radiograph
from reading import normalised, reason
from validators import run_tool

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import ReasonCode

HTJ2K = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)


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


@pytest.fixture(scope="module")
def read_by_itk(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Any]:
    """Stored values after rescale, as ITK decodes them, of real and of made radiographs.

    In a process of its own: ITK's extension modules crash where Python's warnings are errors, as in pytest.
    """
    folder = tmp_path_factory.mktemp("itk")
    paths = [*real_radiographs(folder), *lossless_radiographs(folder)]
    pairs = [(str(path), str(path.with_suffix(".npy"))) for path in paths]
    command = [sys.executable, "-c", ITK_READ]
    subprocess.run(command, input=json.dumps(pairs), text=True, check=True, capture_output=True)
    return {path: np.load(path.with_suffix(".npy")) for path in paths}


def real_radiographs(folder: Path) -> list[Path]:
    """Uncompressed and reversible JPEG 2000."""
    names = [f"RG{n}_{kind}.dcm" for n in (1, 3) for kind in ("UNCI", "UNCR", "J2KR")]
    return [shutil.copy(real_radiograph(name), folder / name) for name in names]


def lossless_radiographs(folder: Path) -> list[Path]:
    """Every lossless transfer syntax that ITK's GDCM can read."""
    paths = []
    for syntax in set(LOSSLESS) - set(HTJ2K):
        for bits, signed, rescale in ((8, False, None), (12, False, (2.0, -100.0)), (16, True, (-1.0, 3.0))):
            path = folder / f"made{len(paths)}.dcm"
            pixels = limb_pixels(67, 65, bits, signed, seed=len(paths))
            paths.append(make_radiograph(path, pixels, transfer_syntax=syntax, rescale=rescale))
    return paths


def test_lossless_pixels_equal_itk(read_by_itk: dict[Path, Any]) -> None:
    made = {path: array for path, array in read_by_itk.items() if path.name.startswith("made")}
    assert len(made) == 27
    for path, array in made.items():
        np.testing.assert_allclose(read_radiograph(path).pixels, normalised(array), atol=1e-6)


def test_real_radiographs_equal_itk(read_by_itk: dict[Path, Any]) -> None:
    """ITK hands out MONOCHROME1 turned round its stored bits."""
    real = {path: array for path, array in read_by_itk.items() if path.name.startswith("RG")}
    assert len(real) == 6
    for path, array in real.items():
        radiograph = read_radiograph(path)
        center, width = (float(radiograph.header[key].value) for key in ("WindowCenter", "WindowWidth"))
        stored = 2**radiograph.header.BitsStored - 1 - array.astype(float)
        window = np.clip((stored - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
        np.testing.assert_allclose(radiograph.pixels, 1 - window, atol=1e-6)


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
    assert run_tool(*command, source, tmp_path / "i.dcm").returncode == 0
    written = read_radiograph(tmp_path / "i.dcm")
    np.testing.assert_allclose(written.pixels, normalised(pixels), atol=1e-6)


@pytest.mark.parametrize("process", [["+eb"], ["+ee"], ["+es"], ["+ep"]], ids=["baseline", "ee", "es", "ep"])
def test_lossy_jpeg_that_dcmtk_wrote(process: list[str], tmp_path: Path) -> None:
    """Extended has 12 bits; spectral selection and progression are retired and have no decoder in DICOM."""
    pixels = limb_pixels(bits=8 if process == ["+eb"] else 12)
    source = make_radiograph(tmp_path / "source.dcm", pixels)
    path = tmp_path / "i.dcm"
    assert run_tool("dcmcjpeg", *process, source, path).returncode == 0
    if process in (["+es"], ["+ep"]):
        assert reason(path) is ReasonCode.UNSUPPORTED_TRANSFER_SYNTAX
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

    def no_high_bit(dataset: Dataset) -> None:
        overlay(dataset)
        del dataset.HighBit

    for edit in (overlay, upper, no_high_bit):
        for syntax in (uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian):
            path = make_radiograph(tmp_path / "i.dcm", pixels, transfer_syntax=syntax, edit=edit)
            np.testing.assert_array_equal(read_radiograph(path).pixels, plain)


@pytest.mark.parametrize("lowest", [-2048, -100, 0, 100])
def test_stored_values_may_be_signed(lowest: int, tmp_path: Path) -> None:
    """Of 12 bits; a sign that no pixel of the image uses changes nothing."""
    pixels = limb_pixels(bits=10).astype(np.int16) + np.int16(lowest)
    path = make_radiograph(tmp_path / "i.dcm", pixels, bits_stored=12)
    np.testing.assert_allclose(read_radiograph(path).pixels, normalised(pixels), atol=1e-6)


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
