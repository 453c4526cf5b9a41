"""One image in two transfer syntaxes is one image; any other difference is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import make_radiograph
from pydicom import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from tiny_model import draw

from monai_bone_ssl.dicom.collect import Source, group_by_study
from monai_bone_ssl.dicom.same_content import have_same_content
from monai_bone_ssl.errors import ReasonCode

UIDS = {"study_uid": "1.2.3", "sop_uid": "1.2.3.4", "series_uid": "1.2.3.5"}

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
)


def rich(dataset: Dataset) -> None:
    """A private block, a sequence, and elements whose type only the dictionary knows."""
    dataset.private_block(0x0009, "MAKER", create=True).add_new(1, "LO", "private")
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", "Straße"
    dataset.AnatomicRegionSequence = [item]
    dataset.SmallestImagePixelValue = 3


def write(path: Path, syntax: UID, edit: Callable[[Dataset], None] = lambda _: None) -> Path:
    def change(dataset: Dataset) -> None:
        rich(dataset)
        edit(dataset)

    return make_radiograph(path, draw(0.8), transfer_syntax=syntax, edit=change, **UIDS)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_image_in_two_transfer_syntaxes_is_one(syntax: UID, tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", ExplicitVRLittleEndian), write(tmp_path / "b", syntax)
    assert first.read_bytes() != second.read_bytes()
    assert have_same_content(first, second)
    (study,) = group_by_study([Source(first), Source(second)])
    assert [source.error and source.error.code for source in study.sources] == [
        None,
        ReasonCode.DUPLICATE_INSTANCE,
    ]


def rename(dataset: Dataset) -> None:
    dataset.PatientName = "Other^Name"


def change_private(dataset: Dataset) -> None:
    dataset[0x0009, 0x1001].value = "other"


def change_item(dataset: Dataset) -> None:
    dataset.AnatomicRegionSequence[0].CodeMeaning = "Strasse"


@pytest.mark.parametrize("edit", [rename, change_private, change_item])
def test_another_element_is_another_content(edit: Callable[[Dataset], None], tmp_path: Path) -> None:
    first = write(tmp_path / "a", ExplicitVRLittleEndian)
    assert not have_same_content(first, write(tmp_path / "b", ImplicitVRLittleEndian, edit))


def test_one_other_pixel_is_another_content(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, ExplicitVRLittleEndian) for name in "ab")
    dataset = pydicom.dcmread(second)
    pixels = np.array(dataset.pixel_array)
    pixels[5, 5] ^= 1
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(second)
    assert not have_same_content(first, second)


def test_files_that_cannot_be_read_are_not_the_same(tmp_path: Path) -> None:
    first = write(tmp_path / "a", ExplicitVRLittleEndian)
    (tmp_path / "b").write_bytes(first.read_bytes()[:2000])
    assert not have_same_content(first, tmp_path / "b")
    assert not have_same_content(first, tmp_path / "absent")
