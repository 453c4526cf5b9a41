"""Pixels of PNG, JPEG and DICOM files."""

from __future__ import annotations

import shutil
from pathlib import Path

import data_store
import numpy as np
import pytest
from dicom_factory import limb_pixels, make_radiograph
from PIL import Image
from pydicom import Dataset

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.model.preprocessing import PreprocessSpec, preprocess
from monai_bone_ssl.training.data import read_exposed, read_grey, read_input

RAMP = np.linspace(0, 255, 12).astype(np.uint8).reshape(3, 4)


def test_8_bit_images_scale_to_their_full_range(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "x.png")
    pixels = read_grey(tmp_path / "x.png")
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, RAMP / np.float32(255))


def test_16_bit_images_scale_to_their_full_range(tmp_path: Path) -> None:
    deep = (RAMP.astype(np.uint16) << 8) + 17
    Image.fromarray(deep).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "x.png"), deep / np.float32(65535))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
def test_colour_files_that_are_grey_in_truth_are_converted(tmp_path: Path, mode: str) -> None:
    Image.fromarray(RAMP).convert(mode).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "x.png"), RAMP / np.float32(255))


def test_colour_jpeg_of_a_grey_image_is_converted(tmp_path: Path) -> None:
    smooth = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    Image.fromarray(smooth).convert("RGB").save(tmp_path / "x.jpg", quality=85)
    np.testing.assert_allclose(read_grey(tmp_path / "x.jpg"), smooth / 255, atol=4 / 255)


def test_true_colours_are_refused(tmp_path: Path) -> None:
    coloured = np.stack([RAMP, RAMP, RAMP], axis=-1)
    coloured[1, 2] = (200, 40, 40)
    Image.fromarray(coloured).save(tmp_path / "photo.png")
    with pytest.raises(UnsupportedImage, match=r"photo\.png: image has colours") as caught:
        read_grey(tmp_path / "photo.png")
    assert caught.value.code is ReasonCode.COLOUR


def test_broken_images_are_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    png = path.read_bytes()
    for content in (png[: len(png) // 2], png[:40] + b"\0" * 60 + png[100:], b"", b"not an image"):
        path.write_bytes(content)
        with pytest.raises(CorruptImage, match=r"x\.png: expected a readable PNG, JPEG or DICOM") as caught:
            read_grey(path)
        assert caught.value.code is ReasonCode.DECODE_FAILED
    path.unlink()
    with pytest.raises(CorruptImage, match=r"x\.png: no such file"):
        read_grey(path)


def collimate(dataset: Dataset) -> None:
    dataset.CollimatorShape = "RECTANGULAR"
    dataset.CollimatorUpperHorizontalEdge, dataset.CollimatorLowerHorizontalEdge = 25, 96
    dataset.CollimatorLeftVerticalEdge, dataset.CollimatorRightVerticalEdge = 1, 80


def test_the_field_of_a_dicom_file_is_that_of_its_header(tmp_path: Path) -> None:
    pixels = limb_pixels(96, 80)
    pixels[:24] = 0  # shuttered
    path = make_radiograph(tmp_path / "x.dcm", pixels, edit=collimate)
    spec = PreprocessSpec(96, 8, 1.0, 99.0)
    radiograph = read_radiograph(path)
    grey, field = read_exposed(path)
    np.testing.assert_array_equal(grey, radiograph.pixels)
    assert field.mask(96, 80).sum() == 72 * 80
    np.testing.assert_array_equal(
        read_input(path, spec), preprocess(radiograph.pixels, spec, radiograph.declared_field)
    )
    assert not read_input(path, spec)[:24].any()


def test_a_blank_image_is_refused_by_name(tmp_path: Path) -> None:
    Image.new("L", (64, 64), 90).save(tmp_path / "x.png")
    with pytest.raises(UnsupportedImage, match=r"x\.png: the image is blank"):
        read_input(tmp_path / "x.png", PreprocessSpec(56, 14, 1.0, 99.0))


@pytest.mark.parametrize("name", ["x.dcm", "IM000001"])
def test_dicom_is_read_as_the_product_reads_it(tmp_path: Path, name: str) -> None:
    source = Path(data_store.__file__).parent / "data" / "RG3_UNCR.dcm"
    shutil.copy(source, tmp_path / name)
    np.testing.assert_array_equal(read_grey(tmp_path / name), read_radiograph(source).pixels)
