"""Evidence as DICOM objects: what is in them, whose they are, and when they are refused."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import CR, DX, limb_pixels, make_radiograph
from highdicom.seg import segread
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import UID
from validators import dciodvfy

from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.report.content import Algorithm
from monai_bone_ssl.report.evidence_objects import (
    evidence_mask,
    secondary_capture,
    segmentation,
    write_evidence,
)

ALGORITHM = Algorithm("tiny", "1.0", "0" * 64, "f" * 64, "software", "0.1")
CREATED = datetime(2026, 2, 3, 4, 5, 6)
EVIDENCE = np.array([[0.0, 1.0, 0.2], [-2.0, 0.5, 0.49]], dtype=np.float32)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def header(tmp_path: Path, sop_class: UID = CR, **values: Any) -> Dataset:
    """A radiograph's header with attributes set, or removed by None."""

    def edit(dataset: Dataset) -> None:
        dataset.PatientOrientation = ["L", "F"]
        for keyword, value in values.items():
            if value is None:
                if keyword in dataset:
                    delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    name = "Müller^Jürgen=山田^太郎"
    path = make_radiograph(
        tmp_path / "a.dcm", limb_pixels(), sop_class=sop_class, patient_name=name, edit=edit
    )
    return dcmread(path, stop_before_pixels=True)


def test_mask_holds_the_patches_at_or_above_the_limit() -> None:
    mask = evidence_mask(EVIDENCE, 0.5, (7, 9))
    expected = np.zeros((7, 9), dtype=bool)
    for i, j in np.argwhere(EVIDENCE >= 0.5):  # the patch's rectangle, in exact fractions of a pixel
        top, bottom = Fraction(7 * int(i), 2), Fraction(7 * int(i + 1), 2)
        left, right = Fraction(9 * int(j), 3), Fraction(9 * int(j + 1), 3)
        for row, column in np.ndindex(7, 9):
            expected[row, column] |= top <= row < bottom and left <= column < right
    np.testing.assert_array_equal(mask, expected)
    assert mask.any()
    assert not mask.all()


@pytest.mark.parametrize("sop_class", [CR, DX])
def test_objects_are_valid_and_belong_to_the_source(tmp_path: Path, sop_class: UID) -> None:
    source = header(tmp_path, sop_class)
    mask = evidence_mask(EVIDENCE, 0.5, (source.Rows, source.Columns))
    capture = secondary_capture(PICTURE, source, ALGORITHM, 1, CREATED)
    segment = segmentation(mask, source, "fracture", ALGORITHM, 1, CREATED)
    assert segment is not None
    paths = write_evidence([capture, segment], tmp_path / "out")
    assert [path.name.split("_")[0] for path in paths] == ["SC", "SEG"]
    for path in paths:
        made = dcmread(path)
        assert dciodvfy(path).errors == []
        assert made.PatientName == source.PatientName
        for keyword in ("PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
            assert made[keyword].value == source[keyword].value
        assert list(made.PatientOrientation) == ["L", "F"]
        assert made.SeriesInstanceUID != source.SeriesInstanceUID
        references = [item.ReferencedSOPInstanceUID for item in made.get("SourceImageSequence", [])]
        assert source.SOPInstanceUID in references or source.SOPInstanceUID in str(made)
    np.testing.assert_array_equal(dcmread(paths[0]).pixel_array, np.asarray(PICTURE))
    np.testing.assert_array_equal(segread(paths[1]).pixel_array.squeeze().astype(bool), mask)


def test_uids_depend_on_image_and_algorithm_only(tmp_path: Path) -> None:
    source = header(tmp_path)
    later = datetime(2027, 1, 1)
    other = Algorithm("tiny", "1.0", "0" * 64, "e" * 64, "software", "0.1")
    first, again, retrained = (
        secondary_capture(PICTURE, source, algorithm, number, when)
        for algorithm, number, when in ((ALGORITHM, 1, CREATED), (ALGORITHM, 2, later), (other, 1, CREATED))
    )
    assert first.SOPInstanceUID == again.SOPInstanceUID
    assert first.SeriesInstanceUID == again.SeriesInstanceUID
    assert first.SOPInstanceUID != retrained.SOPInstanceUID
    mask = evidence_mask(EVIDENCE, 0.5, (source.Rows, source.Columns))
    segment = segmentation(mask, source, "fracture", ALGORITHM, 1, CREATED)
    assert segment is not None
    assert len({first.SOPInstanceUID, segment.SOPInstanceUID, source.SOPInstanceUID}) == 3
    assert first.SeriesInstanceUID != segment.SeriesInstanceUID


def test_image_laterality_counts_before_that_of_the_series(tmp_path: Path) -> None:
    source = header(tmp_path, Laterality="R", ImageLaterality="L")
    assert secondary_capture(PICTURE, source, ALGORITHM, 1, CREATED).Laterality == "L"


@pytest.mark.parametrize(
    "missing",
    [
        {"Laterality": None, "ImageLaterality": None},
        {"Laterality": "B", "ImageLaterality": None},
        {"PatientOrientation": None},
        {"PatientOrientation": ["L"]},
    ],
)
def test_capture_is_refused_where_the_header_does_not_say(tmp_path: Path, missing: dict[str, Any]) -> None:
    with pytest.raises(ReportError, match=r"has no (Laterality|Patient Orientation)") as caught:
        secondary_capture(PICTURE, header(tmp_path, **missing), ALGORITHM, 1, CREATED)
    assert caught.value.code is ReasonCode.MISSING_IDENTIFIER


def test_segmentation_is_refused_without_patient_orientation(tmp_path: Path) -> None:
    source = header(tmp_path, PatientOrientation=None)
    mask = np.ones((source.Rows, source.Columns), dtype=bool)
    with pytest.raises(ReportError, match="has no Patient Orientation"):
        segmentation(mask, source, "fracture", ALGORITHM, 1, CREATED)


def test_orientation_of_a_limb_is_copied_as_it_is(tmp_path: Path) -> None:
    source = header(tmp_path, PatientOrientation=["LAH", "FP"])
    assert list(secondary_capture(PICTURE, source, ALGORITHM, 1, CREATED).PatientOrientation) == ["LAH", "FP"]


def test_no_segment_where_no_patch_reaches_the_limit(tmp_path: Path) -> None:
    source = header(tmp_path)
    mask = np.zeros((source.Rows, source.Columns), dtype=bool)
    assert segmentation(mask, source, "fracture", ALGORITHM, 1, CREATED) is None


@pytest.mark.parametrize("burned_in", ["YES", "NO", None])
def test_burned_in_annotation_is_said_as_the_source_says(tmp_path: Path, burned_in: str | None) -> None:
    source = header(tmp_path, BurnedInAnnotation=burned_in)
    capture = secondary_capture(PICTURE, source, ALGORITHM, 1, CREATED)
    assert capture.get("BurnedInAnnotation") == burned_in
