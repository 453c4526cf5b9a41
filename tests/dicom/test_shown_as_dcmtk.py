"""Radiographs as DCMTK's renderer shows them: windows, LUTs, polarity, real files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import XRF, limb_pixels, lut_item, make_radiograph
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom_files import real_radiograph
from reading import reason
from validators import run_tool

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import ReasonCode

ROOT = [round(4095 * (value / 4095) ** 0.5) for value in range(4096)]


def dcmtk(path: Path, *options: str) -> Any:
    """8-bit picture of DCMTK; it drops fractions of a grey level."""
    picture = path.with_suffix(".pgm")
    run = run_tool("dcm2pnm", "+op", *options, path, picture)
    assert run.returncode == 0, run.stderr
    return np.asarray(Image.open(picture)).astype(int)


def put(**elements: Any) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)

    return edit


def modality_lut() -> Dataset:
    item = lut_item(ROOT, 0, 12)
    item.ModalityLUTType = "US"
    return item


CASES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "full range": (("+Wm",), {}),
    "window": (("+Wi", "1"), {"window": (2000, 1500)}),
    "narrow window": (("+Wi", "1"), {"window": (300, 300.5)}),
    "window wider than the values": (("+Wi", "1"), {"window": (3000, 9000)}),
    "sigmoid": (("+Wi", "1", "+Wfs"), {"window": (2000, 1500), "voi_function": "SIGMOID"}),
    "rescale": (("+Wi", "1"), {"rescale": (3, -1000), "window": (2000, 9000)}),
    "rescale downwards": (("+Wi", "1"), {"rescale": (-1, 100), "window": (-2000, 3000)}),
    "voi lut": (("+Wl", "1"), {"edit": put(VOILUTSequence=[lut_item(ROOT, 0, 12)])}),
    "short voi lut": (("+Wl", "1"), {"edit": put(VOILUTSequence=[lut_item(ROOT[:2000], 1000, 12)])}),
    "modality lut": (
        ("+Wi", "1"),
        {"window": (3000, 2000), "edit": put(ModalityLUTSequence=[modality_lut()])},
    ),
    "modality lut, full range": (("+Wm",), {"edit": put(ModalityLUTSequence=[modality_lut()])}),
    "XRF modality lut": (
        ("+Wi", "1"),
        {
            "sop_class": XRF,
            "window": (3000, 2000),
            "edit": put(ModalityLUTSequence=[modality_lut()], PixelIntensityRelationship="LOG"),
        },
    ),
    "slope 0": (("+Wi", "1"), {"rescale": (0, 5), "window": (2000, 1500)}),
    "second window": (("+Wi", "2"), {"edit": put(WindowCenter=[9, 2000], WindowWidth=[0, 1500])}),
    "no good window": (("+Wm",), {"edit": put(WindowCenter=[9, 2000], WindowWidth=[0, -1])}),
    "unknown function": (("+Wi", "1"), {"window": (2000, 1500), "voi_function": "CUBIC"}),
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("case", CASES)
def test_shown_as_dcmtk_shows_it(case: str, photometric: str, tmp_path: Path) -> None:
    options, arguments = CASES[case]
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), photometric=photometric, **arguments)
    ours = np.floor(read_radiograph(path).pixels * 255 + 1e-3)
    theirs = dcmtk(path, *options)
    assert np.ptp(theirs) > 100
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", [None, "IDENTITY", "INVERSE"])
def test_a_polarity_that_is_read_is_dcmtks(photometric: str, shape: str | None, tmp_path: Path) -> None:
    """DCMTK follows the shape, other viewers the other attribute: where they differ, nothing is read."""
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), photometric=photometric, window=(2000, 4000))
    if shape is not None:
        dataset = dcmread(path)
        dataset.PresentationLUTShape = shape
        dataset.save_as(path)
    theirs = dcmtk(path, "+Wi", "1")
    stored = limb_pixels().astype(float)
    dark_is_high = np.corrcoef(theirs.ravel(), stored.ravel())[0, 1] < 0
    if dark_is_high != (photometric == "MONOCHROME1"):
        assert reason(path) is ReasonCode.INVALID_HEADER
    else:
        ours = np.floor(read_radiograph(path).pixels * 255 + 1e-3)
        assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG3_UNCR.dcm"])
def test_real_radiographs_shown_as_dcmtk_shows_them(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    shutil.copy(real_radiograph(name), path)
    ours = np.floor(read_radiograph(path).pixels * 255 + 1e-3)
    assert np.abs(ours - dcmtk(path, "+Wi", "1")).max() <= 1


@pytest.mark.parametrize("name", ["mlut_18.dcm", "vlut_04.dcm"])
def test_luts_of_real_files_shown_as_dcmtk_shows_them(name: str, tmp_path: Path) -> None:
    """These two are secondary captures, so they are relabelled as CR; nothing else changes."""
    dataset = dcmread(real_radiograph(name))
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.Modality = "CR"
    path = tmp_path / name
    dataset.save_as(path)
    ours = np.floor(read_radiograph(path).pixels * 255 + 1e-3)
    option = ("+Wl", "1") if "VOILUTSequence" in dataset else ("+Wm",)
    assert np.abs(ours - dcmtk(path, *option)).max() <= 1
