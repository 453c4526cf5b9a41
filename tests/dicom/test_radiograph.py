"""What a radiograph says besides its pixels: identity, spacing, side and body part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import limb_pixels, make_radiograph
from pydicom import Dataset, uid
from pydicom.sr.coding import Code
from reading import normalised, put, reason

from monai_bone_ssl.dicom.radiograph import SpacingSource, read_header, read_radiograph


@pytest.mark.parametrize("cut", [128 + 4, None], ids=["meta information first", "data set first"])
@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)
def test_files_without_preamble(cut: int | None, syntax: uid.UID, tmp_path: Path) -> None:
    pixels = limb_pixels()
    path = make_radiograph(tmp_path / "i.dcm", pixels, transfer_syntax=syntax)
    start = cut or 144 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    path.write_bytes(path.read_bytes()[start:])
    np.testing.assert_allclose(read_radiograph(path).pixels, normalised(pixels), atol=1e-6)


def test_the_header_holds_no_pixels_and_every_value_is_converted(tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), patient_name="Müller^Jürgen")
    for header in (read_header(path), read_radiograph(path).header):
        assert "PixelData" not in header
        assert header.PatientName == "Müller^Jürgen"
        assert not any(type(element).__name__ == "RawDataElement" for element in header.values())


def test_identity(tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), study_uid="1.2.3", sop_uid="1.2.3.4")
    radiograph = read_radiograph(path)
    assert (radiograph.study_instance_uid, radiograph.sop_instance_uid) == ("1.2.3", "1.2.3.4")


def test_odd_but_harmless_values_do_not_stop_it(tmp_path: Path) -> None:
    """Text too long for its VR, a number that is none in an element nobody needs, burned-in annotation."""
    path = make_radiograph(
        tmp_path / "i.dcm",
        limb_pixels(),
        edit=put(StudyID="0123456789012345", BurnedInAnnotation="YES"),
    )
    content = path.read_bytes().replace(b"0123456789012345", b"\xff\xfe3456789012345#")
    path.write_bytes(content)
    assert reason(path) is None


CALIBRATED, AT_DETECTOR, DEMAGNIFIED = SpacingSource
FACTOR = "EstimatedRadiographicMagnificationFactor"


@pytest.mark.parametrize(
    ("elements", "spacing", "source"),
    [
        ({}, None, None),
        ({"PixelSpacing": [0.1, 0.2]}, (0.1, 0.2), CALIBRATED),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, (0.1, 0.2), AT_DETECTOR),
        ({"PixelSpacing": [0.3, 0.3], "ImagerPixelSpacing": [0.1, 0.2]}, (0.3, 0.3), CALIBRATED),
        ({"ImagerPixelSpacing": [0.1, 0.2], FACTOR: 1.25}, (0.08, 0.16), DEMAGNIFIED),
        ({"ImagerPixelSpacing": [0.1, 0.2], FACTOR: 1}, (0.1, 0.2), DEMAGNIFIED),
        ({"ImagerPixelSpacing": [0.1, 0.2], FACTOR: 5}, (0.02, 0.04), DEMAGNIFIED),
        # No such magnification below 1 or beyond 5, no pixel of less than a micrometre or more than 10 mm.
        ({"ImagerPixelSpacing": [0.1, 0.2], FACTOR: 0}, (0.1, 0.2), AT_DETECTOR),
        ({"ImagerPixelSpacing": [0.1, 0.2], FACTOR: 0.9}, (0.1, 0.2), AT_DETECTOR),
        ({"ImagerPixelSpacing": [0.1, 0.2], FACTOR: 5.1}, (0.1, 0.2), AT_DETECTOR),
        ({"ImagerPixelSpacing": [0.1, 0.2], FACTOR: [1.25, 1.25]}, (0.1, 0.2), AT_DETECTOR),
        ({"PixelSpacing": [0.001, 10]}, (0.001, 10), CALIBRATED),
        ({"PixelSpacing": [0.0009, 1]}, None, None),
        ({"PixelSpacing": [1, 10.1]}, None, None),
        ({"PixelSpacing": [0, 0]}, None, None),
        ({"PixelSpacing": [-1, 1], "ImagerPixelSpacing": [0.1, 0.1]}, (0.1, 0.1), AT_DETECTOR),
        ({"PixelSpacing": 0.1}, None, None),
        ({"PixelSpacing": [0.1, 0.1, 0.1]}, None, None),
    ],
)
def test_spacing(
    elements: dict[str, Any],
    spacing: tuple[float, float] | None,
    source: SpacingSource | None,
    tmp_path: Path,
) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), imager_pixel_spacing=None, edit=put(**elements))
    radiograph = read_radiograph(path)
    assert radiograph.spacing == pytest.approx(spacing)
    assert radiograph.spacing_source == source


@pytest.mark.parametrize(
    ("elements", "laterality"),
    [
        ({"Laterality": "R"}, "R"),
        ({"Laterality": "R", "ImageLaterality": "L"}, "L"),
        ({"Laterality": "R", "ImageLaterality": "U"}, "R"),
        ({"Laterality": "", "FrameLaterality": "B"}, "B"),
        ({"Laterality": ""}, None),
        ({"Laterality": "X"}, None),
        ({"ImageLaterality": "U", "Laterality": ""}, None),
    ],
)
def test_laterality(elements: dict[str, str], laterality: str | None, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), edit=put(**elements))
    assert read_radiograph(path).laterality == laterality


@pytest.mark.parametrize(
    ("region", "body_part", "anatomy"),
    [
        (None, "HAND", "HAND"),
        (None, "LOWER LEG", "LOWERLEG"),
        (None, "TIB_FIB", "TIBIAFIBULA"),
        (None, "UP_EXM", "ARM"),
        (None, "LOW_EXM", "EXTREMITY"),
        (None, "CHEST", "CHEST"),
        (None, "", None),
        (None, "_", None),
        (Code("70258002", "SCT", "Ankle joint"), "EXTREMITY", "ANKLE"),
        (Code("8205005", "SCT", "Wrist region"), "", "WRIST"),
        (Code("T-15750", "SRT", "Ankle joint"), "", "ANKLE"),
        (Code("T-D8700", "SNM3", "Hand"), "", "HAND"),
        (Code("51185008", "SCT", "Chest"), "", "CHEST"),
        (Code("51185008", "SCT", "Chest"), "HAND", "HAND"),
        (Code("70258002", "99LOCAL", "Something else"), "", "SOMETHING ELSE"),
    ],
)
def test_anatomy(region: Code | None, body_part: str, anatomy: str | None, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), anatomic_region=region, body_part=body_part)
    assert read_radiograph(path).anatomy == anatomy


def test_a_region_that_cannot_be_read_leaves_it_to_the_body_part(tmp_path: Path) -> None:
    def damage(dataset: Dataset) -> None:
        dataset.add_new("AnatomicRegionSequence", "LO", "no sequence")

    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), body_part="ELBOW", edit=damage)
    assert read_radiograph(path).anatomy == "ELBOW"
