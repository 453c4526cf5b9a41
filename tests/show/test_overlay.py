"""Overlays, judged by the pixels a reader would see."""

from __future__ import annotations

import numpy as np
import pytest
from overlays import chroma, draw, flat
from tiny_model import POINTS

from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.findings import (
    ABNORMALITY,
    FRACTURE,
    Decision,
    OperatingPoints,
    Region,
)
from monai_bone_ssl.show.colours import DECISION_COLOURS, LEAST_SHOWN, colour_evidence


def runs(mask):
    """Half-open [start, end) runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))


def panels(rows, columns):
    """Boxes of the two pictures, found in the pixels of a flat grey radiograph without evidence."""
    image = np.asarray(draw(flat(rows, columns), np.zeros((3, 3))))
    mask = (image == 128).all(axis=2)
    height = [(a, b) for a, b in runs(mask.any(axis=1)) if b - a > 5]
    (top, bottom) = height[0]
    across = runs(mask[top:bottom].all(axis=0))
    assert len(across) == 2, "two pictures, side by side"
    return image, [(left, top, right, bottom) for left, right in across]


def cut(image, box):
    left, top, right, bottom = box
    return np.asarray(image)[top:bottom, left:right].astype(int)


@pytest.mark.parametrize(
    ("rows", "columns"), [(2400, 2000), (1200, 200), (150, 1400), (48, 60), (512, 400), (20, 90), (700, 700)]
)
def test_two_pictures_of_equal_size_with_the_radiographs_aspect(rows, columns):
    image, (plain, coloured) = panels(rows, columns)
    sizes = {(right - left, bottom - top) for left, top, right, bottom in (plain, coloured)}
    assert len(sizes) == 1
    width, height = sizes.pop()
    assert abs(width - height * columns / rows) <= max(1, columns / rows)
    assert width <= 800
    assert height <= 900
    assert width == 800 or height == 900 or width == 3 * columns, "fills the screen, or enlarged threefold"
    assert image.shape[1] <= 1920


def test_the_left_picture_is_the_radiograph_untouched():
    ramp = np.linspace(0, 1, 900 * 700, dtype=np.float32).reshape(900, 700)
    _, (plain, _) = panels(900, 700)
    evidence, region = np.ones((9, 7)), Region(400, 300, 100, 100, 0.9, "certain")
    picture = cut(draw(ramp, evidence, regions=[region]), plain)
    np.testing.assert_allclose(picture, np.repeat(ramp[..., None] * 255, 3, axis=2), atol=1)


@pytest.mark.parametrize("value", [0.0, LEAST_SHOWN - 0.001])
def test_faint_evidence_leaves_the_radiograph_grey(value):
    noise = np.random.default_rng(0).random((300, 200), dtype=np.float32)
    _, (plain, coloured) = panels(300, 200)
    image = draw(noise, np.full((6, 4), value), probability=0.1)
    np.testing.assert_array_equal(cut(image, plain), cut(image, coloured))


@pytest.mark.parametrize("patch", [(0, 0), (0, 6), (1, 5), (3, 0), (2, 1), (3, 6)])
@pytest.mark.parametrize(("rows", "columns"), [(400, 500), (1200, 300)])
def test_colour_sits_over_the_patch_with_the_evidence(rows, columns, patch):
    evidence = np.full((4, 7), 0.001)
    evidence[patch] = 1
    _, (plain, coloured) = panels(rows, columns)
    image = draw(flat(rows, columns), evidence)
    colour = chroma(cut(image, coloured))
    y, x = np.unravel_index(colour.argmax(), colour.shape)
    assert (y * 4 // colour.shape[0], x * 7 // colour.shape[1]) == patch
    inside = np.zeros(colour.shape, dtype=bool)
    row, column = (
        slice(*(int(size * (i + d) / n) for d in (0, 1)))
        for size, i, n in zip(colour.shape, patch, evidence.shape, strict=True)
    )
    inside[row, column] = True
    assert colour[inside].sum() > 0.5 * colour.sum()  # the rest fades out to the next patches' centres
    assert chroma(cut(image, plain)).max() == 0


def test_the_same_evidence_has_the_same_colour_whatever_there_is_elsewhere():
    weak, strong = np.zeros((2, 9, 9))
    weak[1, 1] = strong[1, 1] = 0.4
    strong[7, 7] = 1
    _, (_, coloured) = panels(450, 450)
    one, other = (cut(draw(flat(450, 450), e), coloured) for e in (weak, strong))
    np.testing.assert_array_equal(one[:300, :300], other[:300, :300])
    assert chroma(one).max() > 20, "moderate evidence is seen"
    assert chroma(one).max() < chroma(other).max()


def test_interpolation_is_bilinear_between_patch_centres():
    """Against scipy, through the picture: evidence drawn patchwise equals evidence given per pixel."""
    from scipy.ndimage import map_coordinates

    evidence = np.random.default_rng(1).uniform(LEAST_SHOWN, 1, (5, 8)).astype(np.float32)
    _, (_, coloured) = panels(500, 800)
    y, x = np.meshgrid((np.arange(500) + 0.5) / 100 - 0.5, (np.arange(800) + 0.5) / 100 - 0.5, indexing="ij")
    dense = map_coordinates(evidence, [y, x], order=1, mode="nearest").astype(np.float32)
    expected = colour_evidence(flat(500, 800), dense) * 255
    np.testing.assert_allclose(cut(draw(flat(500, 800), evidence), coloured), expected, atol=3)


def framed(region, rows=500, columns=800):
    """Coloured panel without and with a region, and the pixels that differ without those of its number."""
    _, (_, coloured) = panels(rows, columns)
    evidence = np.zeros((5, 8))
    without, marked = (cut(draw(flat(rows, columns), evidence, regions=r), coloured) for r in ((), (region,)))
    changed = (without != marked).any(axis=2)
    top = region.row * 500 // rows
    number = slice(max(0, top - 25), top - 4) if top > 26 else slice(top + region.height + 5, None)
    assert changed[number].any(), "the probability is written"
    changed[number] = False
    return marked, changed


@pytest.mark.parametrize("patch", [(2, 4), (0, 0), (4, 7), (4, 0)])
@pytest.mark.parametrize("certainty", ["certain", "possible"])
def test_a_frame_surrounds_the_region_and_leaves_it_free(patch, certainty):
    top, left = patch[0] * 100, patch[1] * 100
    marked, changed = framed(Region(top, left, 100, 100, 0.6, certainty))
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert max(0, top - 5) <= rows[0] <= top
    assert top + 96 <= rows[-1] <= min(499, top + 104)
    assert max(0, left - 5) <= columns[0] <= left
    assert left + 96 <= columns[-1] <= min(799, left + 104)
    assert not changed[top + 5 : top + 95, left + 5 : left + 95].any()
    assert (marked[changed] == 255).all(axis=1).any(), "white"
    assert (marked[changed] == 0).all(axis=1).any(), "and dark, for any background"


def test_a_certain_region_has_a_solid_frame_and_a_possible_one_a_dashed_one():
    sides = {}
    for certainty in ("certain", "possible"):
        marked, _ = framed(Region(200, 300, 100, 200, 0.6, certainty))
        white = (marked == 255).all(axis=2)
        across, down = slice(298, 502), slice(198, 302)
        sides[certainty] = [white[198, across], white[301, across], white[down, 298], white[down, 501]]
    assert all(side.all() for side in sides["certain"])
    for side in sides["possible"]:
        assert len(runs(side)) >= 5
        assert 0.4 < side.mean() < 0.8


def test_a_region_of_one_pixel_in_a_corner_is_framed():
    """Smaller than the frame's own lines, once the radiograph is shrunk to the screen."""
    image = draw(flat(4000, 4000), np.zeros((3, 3)), regions=[Region(3999, 3999, 1, 1, 0.5, "possible")])
    plain = draw(flat(4000, 4000), np.zeros((3, 3)))
    assert (np.asarray(image) != np.asarray(plain)).any()


def test_regions_are_in_the_thumbnail_of_the_page_too():
    with_region, without = (
        draw(flat(300, 300), np.zeros((3, 3)), regions=r).info["Thumbnail"]
        for r in ((Region(100, 100, 100, 100, 0.9, "certain"),), ())
    )
    assert with_region != without


def zone_row(image):
    """Columns of the three zones, in the row that shows most of them (right half: left is the answer)."""
    pixels = np.asarray(image).astype(int)
    pixels[:, : pixels.shape[1] // 2] = 0
    masks = {d: (pixels == c).all(axis=2) for d, c in DECISION_COLOURS.items()}
    row = int(np.argmax(sum(mask.sum(axis=1) for mask in masks.values())))
    return row, {d: np.flatnonzero(mask[row]) for d, mask in masks.items()}


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.45, 0.92, 1.0])
@pytest.mark.parametrize("points", [POINTS, OperatingPoints(0.05, 0.2), OperatingPoints(0.6, 0.95)])
def test_the_bar_shows_probability_and_operating_points_to_scale(probability, points):
    image = draw(flat(600, 500), np.zeros((3, 3)), probability, points=points)
    row, zones = zone_row(image)
    start, end = zones[Decision.NEGATIVE][0], zones[Decision.POSITIVE][-1]
    share = {d: (x[-1] - x[0]) / (end - start) for d, x in zones.items()}
    assert share[Decision.NEGATIVE] == pytest.approx(points.high_sensitivity, abs=0.01)
    assert share[Decision.POSITIVE] == pytest.approx(1 - points.high_specificity, abs=0.01)
    pixels = np.asarray(image).astype(int)
    top = row
    while (pixels[top - 1, start + 3] == DECISION_COLOURS[Decision.NEGATIVE]).all():
        top -= 1
    pointer = (pixels[top - 12 : top - 3, start - 20 :] > 200).all(axis=2)
    x = np.flatnonzero(pointer.any(axis=0)).mean() + start - 20
    assert (x - start) / (end - start) == pytest.approx(probability, abs=0.015)


@pytest.mark.parametrize("target", [FRACTURE, ABNORMALITY])
def test_long_and_foreign_names_stay_inside_the_picture(target):
    """Text that is too long shrinks; the margins stay empty."""
    image = np.asarray(
        draw(flat(600, 300), np.zeros((3, 3)), target=target, model_name="模型-é-" + "x" * 120)
    )
    assert (image[-150:, :20] == image[0, 0]).all()
    _, zones = zone_row(image)
    gap = image[-150:, zones[Decision.NEGATIVE][0] - 40 : zones[Decision.NEGATIVE][0] - 36]
    assert (gap[5:] == image[0, 0]).all(), "the caption does not run into the bar"


@pytest.mark.parametrize(
    ("pixels", "evidence"),
    [
        (flat(10, 10)[None], np.zeros((2, 2))),
        (flat(10, 10), np.zeros(4)),
        (flat(0, 10), np.zeros((2, 2))),
        (flat(10, 10), np.zeros((0, 2))),
        (flat(10, 10, np.nan), np.zeros((2, 2))),
        (flat(10, 10), np.full((2, 2), np.inf)),
    ],
)
def test_bad_arrays_are_refused(pixels, evidence):
    with pytest.raises(ReportError) as caught:
        draw(pixels, evidence)
    assert caught.value.code is ReasonCode.REPORT_FAILED
    assert "\n" not in caught.value.text


@pytest.mark.parametrize("corner", [(6, 3), (3, 6), (-1, 3), (3, -1)])
def test_a_region_outside_the_image_is_refused(corner):
    with pytest.raises(ReportError, match="outside"):
        draw(flat(10, 10), np.ones((2, 2)), regions=[Region(*corner, 5, 5, 0.9, "certain")])


def test_drawing_does_not_change_its_inputs():
    pixels, evidence = flat(60, 50), np.full((3, 3), 0.5, dtype=np.float32)
    before = pixels.copy(), evidence.copy()
    draw(pixels, evidence, regions=[Region(5, 5, 10, 10, 0.5, "possible")])
    np.testing.assert_array_equal(pixels, before[0])
    np.testing.assert_array_equal(evidence, before[1])
