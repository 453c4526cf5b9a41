"""Collimator and display shutter: the pixels that each shape leaves, and numbers that are not believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pydicom import Dataset

from monai_bone_ssl.dicom.collimation import ExposedField, declared_field
from monai_bone_ssl.notes import Note, NoteCode

ROWS, COLUMNS = 120, 100
DEVICES = ("Collimator", "Shutter")


def header(device: str, shape: str | list[str], **attributes: Any) -> Dataset:
    """A header with one device; ``X`` in a keyword stands for the device."""
    dataset = Dataset()
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    setattr(dataset, f"{device}Shape", shape)
    for keyword, value in attributes.items():
        setattr(dataset, keyword.replace("X", device), value)
    return dataset


def edges(upper: int, lower: int, left: int, right: int) -> dict[str, int]:
    return {
        "XUpperHorizontalEdge": upper,
        "XLowerHorizontalEdge": lower,
        "XLeftVerticalEdge": left,
        "XRightVerticalEdge": right,
    }


def mask_of(dataset: Dataset) -> np.ndarray:
    """Mask [H, W] of the declared field, which is believed."""
    notes: list[Note] = []
    field = declared_field(dataset, notes)
    assert field is not None
    assert notes == []
    return field.mask(ROWS, COLUMNS)


@pytest.mark.parametrize("device", DEVICES)
def test_a_rectangle_has_the_rows_and_columns_of_its_edges(device: str) -> None:
    expected = np.zeros((ROWS, COLUMNS), bool)
    expected[10 - 1 : 110, 5 - 1 : 90] = True  # rows 10 to 110 and columns 5 to 90, counted from 1
    np.testing.assert_array_equal(mask_of(header(device, "RECTANGULAR", **edges(10, 110, 5, 90))), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_a_circle_has_the_pixels_within_its_radius(device: str) -> None:
    mask = mask_of(header(device, "CIRCULAR", CenterOfCircularX=[60, 40], RadiusOfCircularX=45))
    row, column = np.mgrid[1 : ROWS + 1, 1 : COLUMNS + 1]
    distance = np.hypot(row - 60, column - 40)
    assert mask[distance <= 45].all()
    assert not mask[distance > 46].any()


@pytest.mark.parametrize("device", DEVICES)
def test_a_polygon_has_the_pixels_between_its_vertices(device: str) -> None:
    vertices = [(10, 10), (20, 95), (70, 60), (115, 90), (100, 8)]  # one corner points inwards
    mask = mask_of(header(device, "POLYGONAL", VerticesOfThePolygonalX=list(np.ravel(vertices))))
    canvas = Image.new("1", (COLUMNS, ROWS))
    ImageDraw.Draw(canvas).polygon([(column - 1, row - 1) for row, column in vertices], fill=1)
    assert np.mean(mask != np.asarray(canvas)) < 0.02


def test_several_shapes_and_both_devices_are_intersected() -> None:
    shapes = ["RECTANGULAR", "CIRCULAR"]
    circle = {"CenterOfCircularX": [60, 50], "RadiusOfCircularX": 55}
    both = header("Collimator", shapes, **edges(11, 120, 1, 100), **circle)
    both.ShutterShape = "RECTANGULAR"
    for keyword, value in edges(1, 120, 21, 100).items():
        setattr(both, keyword.replace("X", "Shutter"), value)
    expected = mask_of(header("Collimator", "CIRCULAR", **circle))
    expected[:10] = expected[:, :20] = False
    np.testing.assert_array_equal(mask_of(both), expected)


def test_edges_outside_the_image_hide_nothing_there() -> None:
    mask = mask_of(header("Collimator", "RECTANGULAR", **edges(-50, 100, -3, 4000)))
    assert mask[:100].all()
    assert not mask[100:].any()


@given(st.integers(1, 60), st.integers(61, 120), st.integers(1, 50), st.integers(51, 100))
def test_a_smaller_image_has_the_same_field(upper: int, lower: int, left: int, right: int) -> None:
    outline = np.array([(upper - 1, left - 1), (upper - 1, right), (lower, right), (lower, left - 1)], float)
    field = ExposedField((ROWS, COLUMNS), (outline,))
    share = (lower - upper + 1) * (right - left + 1) / (ROWS * COLUMNS)
    assert abs(field.mask(60, 50).mean() - share) < 0.04


def test_a_header_that_declares_nothing_has_no_field() -> None:
    for shape in ("", []):
        notes: list[Note] = []
        assert declared_field(header("Shutter", shape), notes) is None
        assert notes == []


WRONG = {
    "unknown shape": ("BITMAP", {}),
    "no edges": ("RECTANGULAR", {}),
    "one edge missing": ("RECTANGULAR", {**edges(10, 110, 5, 90), "XLeftVerticalEdge": None}),
    "two numbers for an edge": ("RECTANGULAR", {**edges(10, 110, 5, 90), "XLeftVerticalEdge": [5, 6]}),
    "rows reversed": ("RECTANGULAR", edges(110, 10, 5, 90)),
    "columns reversed": ("RECTANGULAR", edges(10, 110, 90, 5)),
    "all zero": ("RECTANGULAR", edges(0, 0, 0, 0)),
    "outside the image": ("RECTANGULAR", edges(200, 400, 5, 90)),
    "less than a fifth": ("RECTANGULAR", edges(50, 70, 1, 100)),
    "no centre": ("CIRCULAR", {"RadiusOfCircularX": 45}),
    "centre of one number": ("CIRCULAR", {"CenterOfCircularX": 60, "RadiusOfCircularX": 45}),
    "negative radius": ("CIRCULAR", {"CenterOfCircularX": [60, 50], "RadiusOfCircularX": -45}),
    "small circle": ("CIRCULAR", {"CenterOfCircularX": [60, 50], "RadiusOfCircularX": 9}),
    "no vertices": ("POLYGONAL", {}),
    "two vertices": ("POLYGONAL", {"VerticesOfThePolygonalX": [1, 1, 100, 90]}),
    "half a vertex": ("POLYGONAL", {"VerticesOfThePolygonalX": [1, 1, 1, 100, 120, 100, 120]}),
    "vertices on a line": ("POLYGONAL", {"VerticesOfThePolygonalX": [1, 1, 60, 50, 120, 100]}),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_numbers_are_ignored_with_a_note(device: str, name: str) -> None:
    shape, attributes = WRONG[name]
    notes: list[Note] = []
    assert declared_field(header(device, shape, **attributes), notes) is None
    assert [note.code for note in notes] == [NoteCode.COLLIMATION]
    assert device in notes[0].text
    assert shape in notes[0].text


def test_a_value_that_is_no_number_is_ignored_with_a_note() -> None:
    dataset = header("Collimator", "RECTANGULAR", **edges(10, 110, 5, 90))
    dataset["CollimatorLeftVerticalEdge"]._value = b"five"
    notes: list[Note] = []
    assert declared_field(dataset, notes) is None
    assert len(notes) == 1


def test_one_wrong_shape_leaves_the_others() -> None:
    dataset = header("Collimator", ["CIRCULAR", "RECTANGULAR"], **edges(10, 110, 5, 90))
    notes: list[Note] = []
    field = declared_field(dataset, notes)
    assert field is not None
    assert field.mask(ROWS, COLUMNS).sum() == 101 * 86
    assert "CIRCULAR" in notes[0].text


def test_devices_that_leave_no_image_between_them_are_ignored() -> None:
    dataset = header("Collimator", "RECTANGULAR", **edges(1, 60, 1, 100))
    dataset.ShutterShape = "RECTANGULAR"
    for keyword, value in edges(50, 120, 1, 100).items():
        setattr(dataset, keyword.replace("X", "Shutter"), value)
    notes: list[Note] = []
    assert declared_field(dataset, notes) is None
    assert [note.code for note in notes] == [NoteCode.COLLIMATION]
