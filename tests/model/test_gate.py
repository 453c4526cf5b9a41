"""The shipped model answers "not analysed" to what it was not made for, whatever the header claims."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_factory import make_radiograph
from outside import library, shared
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom_files import real_radiograph

from monai_bone_ssl.analysis import analyse_file
from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.errors import ReasonCode
from monai_bone_ssl.findings import Status


def _analyse(path, shipped):
    return analyse_file(Source(path, "1.2.3", "1.2.4"), shipped).finding


def _as_radiograph(pixels, path, body_part=None):
    """Any picture in the clothes of a Computed Radiography image."""
    spread = np.ptp(pixels.astype(np.float64)) or 1.0
    levels = np.rint((pixels - pixels.min()) / spread * 4095).astype(np.uint16)
    return make_radiograph(path, levels, bits_stored=12, body_part=body_part)


def _tagged(source, path, body_part):
    dataset = pydicom.dcmread(source)
    dataset.BodyPartExamined = body_part
    dataset.save_as(path)
    return path


def _noise(rng):
    return rng.integers(0, 4096, (500, 400))


def _gaussian_noise(rng):
    return rng.normal(2000, 400, (500, 400))


def _gradient(_):
    return np.tile(np.arange(400), (500, 1))


def _ct_slice(_):
    return pydicom.dcmread(get_testdata_file("CT_small.dcm")).pixel_array


def _ultrasound(_):
    return pydicom.dcmread(get_testdata_file("examples_rgb_color.dcm")).pixel_array.mean(axis=-1)


def _text(_):
    """A scanned page: black lines on white."""
    page = np.full((500, 400), 240) + np.arange(400) % 16  # paper has a texture
    page[40:460:20, 30:370] = 0
    page[:, 100:110] = 255
    return page


@pytest.mark.parametrize("picture", [_noise, _gaussian_noise, _gradient, _ct_slice, _ultrasound, _text])
@pytest.mark.parametrize("body_part", ["HAND", None])
def test_pictures_in_the_clothes_of_a_radiograph_are_not_analysed(shipped, tmp_path, picture, body_part):
    pixels = picture(np.random.default_rng(0))
    finding = _analyse(_as_radiograph(pixels, tmp_path / "x.dcm", body_part), shipped)
    assert finding.status is Status.NOT_ANALYSED
    assert finding.reason.code in {ReasonCode.OUT_OF_DISTRIBUTION, ReasonCode.BODY_PART_UNCERTAIN}


def test_photograph_is_not_analysed(shipped, tmp_path):
    library("sklearn", "evaluate")
    from sklearn import datasets

    for name in ("china.jpg", "flower.jpg"):
        photograph = datasets.load_sample_image(name).mean(axis=-1)
        finding = _analyse(_as_radiograph(photograph, tmp_path / "x.dcm", "HAND"), shipped)
        assert finding.reason.code is ReasonCode.OUT_OF_DISTRIBUTION


def test_blank_image_is_not_analysed(shipped, tmp_path):
    path = _as_radiograph(np.full((500, 400), 7), tmp_path / "x.dcm", "HAND")
    assert _analyse(path, shipped).reason.code is ReasonCode.BLANK_IMAGE


def test_chest_is_recognised_without_its_tag(shipped, tmp_path):
    for name in ("RG1_J2KR.dcm", "RG1_UNCR.dcm"):
        chest = real_radiograph(name)
        assert _analyse(chest, shipped).reason.code is ReasonCode.BODY_PART_NOT_COVERED
    untagged = _tagged(chest, tmp_path / "chest.dcm", "")
    assert _analyse(untagged, shipped).reason.code is ReasonCode.OUT_OF_DISTRIBUTION


@pytest.fixture(scope="module")
def tibia(shipped):
    """Findings of one radiograph: uncompressed, in lossless and in lossy JPEG 2000."""
    return {kind: _analyse(real_radiograph(f"RG3_{kind}.dcm"), shipped) for kind in ("UNCR", "J2KR", "J2KI")}


@pytest.mark.parametrize("kind", ["UNCR", "J2KR", "J2KI"])
def test_tibia_is_recognised_without_a_specific_tag(tibia, kind):
    finding = tibia[kind]
    assert finding.status is Status.ANALYSED
    assert (finding.body_part.value, finding.body_part.source) == ("leg", "image")


@pytest.mark.parametrize(
    ("body_part", "reason"),
    [("TIBIA_RE LAT", None), ("DEFAULT", None), ("HAND", ReasonCode.BODY_PART_CONFLICT)],
)
def test_tibia_contradicts_the_tag_of_a_hand(shipped, tmp_path, body_part, reason):
    tibia = _tagged(real_radiograph("RG3_UNCR.dcm"), tmp_path / "tibia.dcm", body_part)
    finding = _analyse(tibia, shipped)
    assert (None if finding.status is Status.ANALYSED else finding.reason.code) == reason


def test_lossless_compression_changes_nothing(tibia):
    plain, packed = tibia["UNCR"], tibia["J2KR"]
    assert (plain.probability, plain.peak) == (packed.probability, packed.peak)


def test_mistagged_image_is_refused(shipped, tmp_path):
    """A hand called a knee; the same hand with its right tag is analysed."""
    pixels = _first_hand(shared("data/fracatlas"))
    wrong = _analyse(_as_radiograph(pixels, tmp_path / "wrong.dcm", "KNEE"), shipped)
    assert wrong.reason.code is ReasonCode.BODY_PART_CONFLICT
    assert _analyse(_as_radiograph(pixels, tmp_path / "right.dcm", "HAND"), shipped).status is Status.ANALYSED


def _first_hand(fracatlas):
    lines = (fracatlas / "labels.csv").read_text().splitlines()
    name = next(line.split(",")[0] for line in lines[1:] if line.split(",")[1] == "hand")
    return np.asarray(Image.open(fracatlas / "images" / name).convert("L"))
