"""Exposed field: white borders are cut off, anatomy never is."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from outside import shared
from PIL import Image
from pydicom_files import real_radiograph

from monai_bone_ssl.dicom.collimation import ExposedField
from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.model.exposed_field import exposed_field, find_exposed_field
from monai_bone_ssl.notes import Note, NoteCode

FloatArray = NDArray[np.float32]
PENUMBRA = 4 / 512
"""Rim of the field along a border, as a share of the long side, that may be left out with the border."""


def grid(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of each pixel's centre, from 0 to 1."""
    down, across = np.mgrid[:rows, :columns]
    return (down + 0.5) / rows, (across + 0.5) / columns


def limb(rows: int, columns: int) -> FloatArray:
    """A soft-edged limb with a bone in it, from the top edge to the bottom edge, on a dark ground."""
    down, across = grid(rows, columns)
    middle, width = 0.5 + 0.05 * np.sin(3 * down), 0.12 + 0.06 * down
    offset = np.abs(across - middle) / width
    flesh = 0.3 * np.sqrt(np.clip(1 - offset**2, 0, 1))
    bone = 0.45 * (np.abs(offset - 0.1) < 0.35)
    return (0.08 + flesh + bone).astype(np.float32)


def as_photographed(pixels: NDArray[np.floating], noise: float, quality: int, seed: int) -> FloatArray:
    """With noise, and stored as a JPEG."""
    noisy = pixels + np.random.default_rng(seed).normal(0, noise, pixels.shape)
    stored = io.BytesIO()
    Image.fromarray(np.uint8(np.clip(noisy, 0, 1) * 255)).save(stored, "JPEG", quality=quality)
    return np.asarray(Image.open(stored), np.float32) / np.float32(255)


def beyond_border(
    shape: tuple[int, int], side: int, depth: float, degrees: float, roughness: float, seed: int
) -> NDArray[np.float64]:
    """Distance [H, W] of each pixel from a border's edge, in pixels: negative in the border.

    Parameters
    ----------
    side
        Left, right, top or bottom: 0 to 3.
    depth
        Depth of the border half-way along the side, as a share of the image.
    degrees
        Angle between edge and side.
    roughness
        Standard deviation of the edge from its line, in pixels.
    """
    down, across = np.mgrid[: shape[0], : shape[1]] + 0.5
    along, inward = (down, across) if side < 2 else (across, down)
    length, full = shape if side < 2 else shape[::-1]
    inward = full - inward if side % 2 else inward
    rough = np.random.default_rng(seed).normal(0, roughness, length)
    line = depth * full + np.tan(np.radians(degrees)) * (along - length / 2)
    return inward - line - (rough[:, None] if side < 2 else rough)


borders = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0.06, 0.15), st.floats(-8, 8)),
    min_size=1,
    max_size=4,
    unique_by=lambda border: border[0],
)


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([(512, 410), (410, 512), (300, 240), (900, 1100), (512, 512)]),
    borders=borders,
    level=st.floats(0.88, 1),
    roughness=st.floats(0, 1.5),
    noise=st.floats(0, 0.02),
    quality=st.integers(60, 95),
    seed=st.integers(0, 1000),
)
def test_borders_are_cut_off_and_the_field_is_kept(
    size: tuple[int, int],
    borders: list[tuple[int, float, float]],
    level: float,
    roughness: float,
    noise: float,
    quality: int,
    seed: int,
) -> None:
    distances = [
        beyond_border(size, side, depth, degrees, roughness, seed + side) for side, depth, degrees in borders
    ]
    inside = np.min(distances, axis=0)
    pixels = as_photographed(np.where(inside < 0, level, limb(*size)), noise, quality, seed)
    mask = find_exposed_field(pixels).mask(*size)
    assert np.mean(~mask[inside < 0]) >= 0.95
    assert np.mean(~mask[inside > PENUMBRA * max(size)]) < 0.005


@pytest.mark.parametrize("size", [(64, 80), (512, 400), (2000, 2500)])
def test_without_borders_the_whole_image_is_the_field(size: tuple[int, int]) -> None:
    pixels = as_photographed(limb(*size), 0.01, 90, 0)
    for view in (pixels, pixels.T, 1 - pixels):
        assert find_exposed_field(np.ascontiguousarray(view)).mask(*view.shape).all()
    assert find_exposed_field(np.full(size, 0.4, np.float32)).outlines == ()


def trunk(down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """Abdomen below lungs, white from side to side, and ending softly."""
    return 0.1 + 0.85 / (1 + np.exp(-(down - 0.8) / 0.03)) + 0 * across


def pelvis(down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """Iliac wings that touch both sides, and a bright spine from the top."""
    wings = np.abs(np.hypot((across - 0.5) / 0.52, (down - 0.45) / 0.35) - 0.9) < 0.12
    return 0.25 + 0.6 * wings + 0.3 * ((np.abs(across - 0.5) < 0.08) & (down < 0.5))


def foot(down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """A heel cut by the lower edge, as bright as metal, over half of the side."""
    return np.where(np.hypot(across - 0.45, (down - 1.05) * 1.2) < 0.28, 0.95, 0.1)


def plaster(down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """A cast of straight, sharp, white walls along three fifths of the left side."""
    return np.where((across < 0.2) & (np.abs(down - 0.5) < 0.3), 0.95, 0.1)


def cut_limb(down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """A thigh along the whole left side, cut lengthwise: marrow, straight and sharp cortex, flesh."""
    flesh = 0.4 * np.sqrt(np.clip(1 - (across / 0.25) ** 2, 0, 1))
    bone = 0.1 * (across < 0.12) + 0.4 * (np.abs(across - 0.1) < 0.02)
    return 0.1 + flesh + bone + 0 * down


@pytest.mark.parametrize("anatomy", [trunk, pelvis, foot, plaster, cut_limb])
@pytest.mark.parametrize("size", [(512, 420), (1200, 1500)])
def test_anatomy_at_the_edge_is_not_cut_off(anatomy, size: tuple[int, int]) -> None:
    pixels = as_photographed(anatomy(*grid(*size)), 0.01, 90, 0)
    for view in (pixels, pixels[::-1], pixels.T, pixels.T[:, ::-1]):
        assert find_exposed_field(np.ascontiguousarray(view)).mask(*view.shape).all()


def test_no_outlined_fracture_is_cut_off() -> None:
    """All 543 of FracAtlas, whose images have borders in more than half."""
    folder = shared("data/fracatlas")
    boxes = json.loads((folder / "fracture_boxes.json").read_text())
    with (folder / "labels.csv").open() as file:
        names = [row["image_id"] for row in csv.DictReader(file) if row["fractured"] == "1"]
    cut_off, bordered = [], 0
    for name in names:
        pixels = np.asarray(Image.open(folder / "images" / name).convert("L"), np.float32) / np.float32(255)
        mask = find_exposed_field(pixels).mask(*pixels.shape)
        bordered += not mask.all()
        for x, y, width, height in (box["bbox_xywh"] for box in boxes.get(name, [])):
            inside = mask[int(y) : int(y + height) + 1, int(x) : int(x + width) + 1]
            cut_off += [name] if inside.mean() < 0.95 else []
    assert len(names) == 543
    assert bordered > 200
    assert cut_off == []


# --- what the header declares -------------------------------------------------------------------------------


def rectangle(top: int, bottom: int, left: int, right: int, shape: tuple[int, int]) -> ExposedField:
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return ExposedField(shape, (np.array(corners, np.float64),))


@pytest.mark.parametrize("level", [0.0, 0.95])
def test_the_declared_field_is_taken_where_what_is_outside_looks_unexposed(level: float) -> None:
    declared = rectangle(30, 200, 20, 150, (240, 200))
    pixels = np.where(declared.mask(240, 200), limb(240, 200), np.float32(level))
    notes: list[Note] = []
    assert exposed_field(pixels, declared, notes) is declared
    share = round(100 * (1 - 170 * 130 / (240 * 200)))
    assert [(note.code, f"{share}%" in note.text) for note in notes] == [
        (NoteCode.OUTSIDE_EXPOSED_FIELD, True)
    ]


def test_a_declared_field_that_would_cut_anatomy_off_is_ignored() -> None:
    """A collimator whose edges were written for another size of the image."""
    pixels, notes = limb(240, 200), []
    field = exposed_field(pixels, rectangle(0, 130, 0, 110, (240, 200)), notes)
    assert field.mask(240, 200).all()
    assert [note.code for note in notes] == [NoteCode.COLLIMATION]


def test_without_a_declared_field_the_borders_are_found_and_noted() -> None:
    pixels, notes = limb(240, 200), []
    pixels[:30] = 1
    field = exposed_field(pixels, None, notes)
    assert not field.mask(240, 200)[:30].any()
    assert [note.code for note in notes] == [NoteCode.OUTSIDE_EXPOSED_FIELD]
    assert "13% of the image" in notes[0].text


def test_nothing_is_noted_of_a_whole_image() -> None:
    notes: list[Note] = []
    assert exposed_field(limb(240, 200), ExposedField((240, 200)), notes).mask(24, 20).all()
    assert exposed_field(limb(240, 200), None, notes).mask(24, 20).all()
    assert notes == []


def test_the_borders_of_a_real_tibia_are_cut_off_and_the_leg_is_kept() -> None:
    """Deep on both sides, and shaded by scatter before the edge on the right."""
    pixels = read_radiograph(real_radiograph("RG3_UNCR.dcm")).pixels
    mask = find_exposed_field(pixels).mask(500, 500)
    assert not mask[:, :120].any()
    assert not mask[:, 370:].any()
    assert mask[:, 140:345].all()
