"""A FracAtlas-style folder: labels, groups and outlines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from data_trees import BOXES, FRACATLAS_ROWS, refusal, write_fracatlas
from outside import shared

from monai_bone_ssl.body_parts import FRACATLAS_PARTS
from monai_bone_ssl.findings import FRACTURE
from monai_bone_ssl.training.data import AnnotatedBox, load_dataset, read_grey


def test_fracatlas_folder_is_read(tmp_path: Path) -> None:
    dataset = load_dataset(write_fracatlas(tmp_path))
    assert dataset.labels.tolist() == [1, 1, 0, 0, 0]
    assert dataset.parts.tolist() == ["hand", "leg", "mixed", "hip", "shoulder"]
    assert [image.hardware for image in dataset.images] == [False, True, False, False, False]
    assert dataset.images[0].name == "images/a.jpg"
    outline = ((1.0, 0.5), (3.0, 0.5), (3.0, 3.5))
    assert dataset.images[0].boxes == (AnnotatedBox(1.0, 0.5, 2.0, 3.0, (outline,)),)
    assert dataset.images[1].boxes == ()
    assert dict(dataset.known_parts) == dict(FRACATLAS_PARTS)
    assert dataset.target == FRACTURE
    assert dataset.source.licence == "CC BY 4.0"


def test_blocks_merge_along_chains_of_near_duplicates(tmp_path: Path) -> None:
    groups = load_dataset(write_fracatlas(tmp_path)).groups
    assert len(set(groups[:4])) == 1
    assert groups[4] != groups[0]


def test_boxes_are_optional_and_may_name_images_outside_the_list(tmp_path: Path) -> None:
    assert all(not i.boxes for i in load_dataset(write_fracatlas(tmp_path, boxes=None)).images)
    more = BOXES | {"elsewhere.jpg": BOXES["a.jpg"]}
    assert load_dataset(write_fracatlas(tmp_path, boxes=more)).images[0].boxes


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("f.jpg,hand,0,1,5,4,1,10", "1 of 6 image files missing, first images/f.jpg"),
        ("a.jpg,hand,0,1,5,4,1,10", "images/a.jpg is listed 2 times"),
        (
            "f.jpg,knee,0,1,5,4,1,10",
            "labels.csv line 7: unknown part 'knee', expected one of hand, leg, hip, ",
        ),
        ("f.jpg,hand,0,yes,5,4,1,10", "labels.csv line 7: fractured is 'yes', expected 0 or 1"),
        ("f.jpg,hand,,1,5,4,1,10", "labels.csv line 7: hardware is '', expected 0 or 1"),
        ("f.jpg,hand,0,1,5,4,,10", "labels.csv line 7: block is empty"),
        ("f.jpg,hand,0,1", "labels.csv line 7: 4 fields, expected 8"),
    ],
)
def test_bad_fracatlas_rows_are_refused(tmp_path: Path, row: str, expected: str) -> None:
    assert expected in refusal(write_fracatlas(tmp_path, rows=[*FRACATLAS_ROWS, row]))


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ({"a.jpg": [{"bbox_xywh": [1, 2, 3]}]}, "expected image id -> list of {bbox_xywh, polygon}"),
        ({"a.jpg": [{"bbox_xywh": [1, 2, 0, 3]}]}, "a.jpg has bbox_xywh [1.0, 2.0, 0.0, 3.0], expected"),
        ({"a.jpg": [{"bbox_xywh": [1, 2, 3, 3], "polygon": [[1, 2, 3]]}]}, "a polygon of an odd number"),
        ({"c.jpg": [{"bbox_xywh": [1, 2, 3, 3]}]}, "labels.csv line 4: fractured is 0, but"),
    ],
)
def test_bad_boxes_are_refused(tmp_path: Path, boxes: object, expected: str) -> None:
    assert expected in refusal(write_fracatlas(tmp_path, boxes=boxes))


def test_missing_fracatlas_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image_id,part,fractured\na.jpg,hand,1\n")
    assert "labels.csv: missing columns hardware, block, neardup_group" in refusal(tmp_path)


def test_fracatlas_counts_are_those_of_the_data_notes() -> None:
    dataset = load_dataset(shared("data/fracatlas"))
    assert Counter((image.part, image.label) for image in dataset.images) == {
        ("hand", 0): 677,
        ("hand", 1): 286,
        ("leg", 0): 1460,
        ("leg", 1): 161,
        ("hip", 0): 134,
        ("hip", 1): 7,
        ("shoulder", 0): 66,
        ("shoulder", 1): 8,
        ("mixed", 0): 221,
        ("mixed", 1): 81,
    }
    assert len(set(dataset.groups)) == 112
    assert sum(bool(image.boxes) for image in dataset.images) == dataset.labels.sum() == 543


def test_ranges_are_eighths_of_the_blocks_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    assert load_dataset(write_fracatlas(tmp_path / "few")).ranges is None  # four blocks are too few
    rows = [f"{'./' * i}a.jpg,hand,0,0,5,4,{block},{i}" for i, block in enumerate([*range(2, 20), 2, 10])]
    dataset = load_dataset(write_fracatlas(tmp_path / "many", rows=rows, boxes=None))
    assert dataset.ranges is not None
    # 18 blocks: edges at 2, 4, 6, 9, 11, 13 and 15 of them.
    sizes = (2, 2, 2, 3, 2, 2, 2, 3)
    expected = [f"range{number}" for number, size in enumerate(sizes, start=1) for _ in range(size)]
    assert dataset.ranges.tolist() == [*expected, "range1", "range4"]
    assert dataset.cells is not None
    assert dataset.cells[0] == "range1 hand"


def test_fracatlas_ranges_tell_the_label() -> None:
    dataset = load_dataset(shared("data/fracatlas"))
    ranges = dataset.ranges
    assert ranges is not None
    shares = [100 * dataset.labels[ranges == f"range{number}"].mean() for number in range(1, 9)]
    assert [round(share) for share in shares] == [8, 4, 8, 8, 62, 16, 12, 31]


def test_fracatlas_boxes_lie_inside_their_images() -> None:
    outlined = [image for image in load_dataset(shared("data/fracatlas")).images if image.boxes][::25]
    for image in outlined:
        rows, columns = read_grey(image.path).shape
        for box in image.boxes:
            assert box.x + box.width <= columns + 0.5
            assert box.y + box.height <= rows + 0.5


def test_boxes_hold_pixel_centres() -> None:
    box = AnnotatedBox(x=2.0, y=1.0, width=2.0, height=1.0)
    inside = [(r, c) for r in range(4) for c in range(6) if box.contains(r, c)]
    assert inside == [(1, 2), (1, 3)]
