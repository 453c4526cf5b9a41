"""Rectangles around the patches that show signs of the target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from monai_bone_ssl.findings import Region
from monai_bone_ssl.model.regions import MOST_REGIONS, find_regions

POSSIBLE, CERTAIN = 0.2, 0.6


def grid(rows: int, columns: int, **probabilities: float) -> np.ndarray:
    """Probabilities [rows, columns]; ``r1c2=0.5`` sets one patch, the others are 0."""
    values = np.zeros((rows, columns), np.float32)
    for place, probability in probabilities.items():
        row, column = place[1:].split("c")
        values[int(row), int(column)] = probability
    return values


def find(values: np.ndarray, shape: tuple[int, int]) -> tuple[Region, ...]:
    return find_regions(values, shape, POSSIBLE, CERTAIN)


def boxes(regions: tuple[Region, ...]) -> list[tuple[int, int, int, int]]:
    return [(region.row, region.column, region.height, region.width) for region in regions]


def test_an_image_without_signs_has_no_region() -> None:
    assert find(grid(4, 4, r1c1=0.199), (40, 40)) == ()


def test_a_region_is_the_patch_in_source_pixels_with_its_probability() -> None:
    (region,) = find(grid(4, 5, r1c2=0.75), (400, 250))
    assert boxes((region,)) == [(100, 100, 100, 50)]
    assert (region.probability, region.certainty) == (0.75, "certain")


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 4), (3, 0), (3, 4)])
def test_a_region_in_a_corner_ends_at_the_edge(row: int, column: int) -> None:
    """With patches that are no whole number of pixels."""
    values = grid(4, 5)
    values[row, column] = 0.5
    (region,) = find(values, (403, 251))
    assert (region.row == 0) == (row == 0)
    assert (region.row + region.height == 403) == (row == 3)
    assert (region.column == 0) == (column == 0)
    assert (region.column + region.width == 251) == (column == 4)


@pytest.mark.parametrize(
    ("probability", "certainty"),
    [(POSSIBLE, "possible"), (0.59, "possible"), (CERTAIN, "certain"), (1.0, "certain")],
)
def test_two_operating_points_make_two_certainties(probability: float, certainty: str) -> None:
    values = grid(3, 3).astype(np.float64)
    values[1, 1] = probability
    (region,) = find(values, (30, 30))
    assert region.certainty == certainty


def test_a_region_grows_over_neighbours_of_eight_that_have_half_its_probability() -> None:
    values = grid(6, 6, r1c1=0.8, r2c2=0.41, r3c3=0.5, r1c2=0.39, r5c0=0.1)
    regions = find(values, (60, 60))
    assert boxes(regions) == [(10, 10, 30, 30)]  # 0.39 is inside: it makes no region of its own
    assert regions[0].probability == pytest.approx(0.8)


def test_signs_apart_are_regions_of_their_own_the_highest_first() -> None:
    regions = find(grid(6, 6, r0c0=0.3, r5c5=0.9, r0c5=0.5), (60, 60))
    assert boxes(regions) == [(50, 50, 10, 10), (0, 50, 10, 10), (0, 0, 10, 10)]
    assert [region.certainty for region in regions] == ["certain", "possible", "possible"]


def test_of_many_signs_the_highest_are_kept() -> None:
    values = np.zeros((11, 11), np.float32)
    values[::2, ::2] = np.linspace(0.3, 0.9, 36).reshape(6, 6)
    regions = find(values, (110, 110))
    assert len(regions) == MOST_REGIONS
    assert min(region.probability for region in regions) == pytest.approx(
        np.sort(values.ravel())[-MOST_REGIONS]
    )


def test_a_whole_image_of_signs_is_one_region() -> None:
    assert boxes(find(np.full((32, 26), 0.7, np.float32), (2000, 1600))) == [(0, 0, 2000, 1600)]


@settings(deadline=None)
@given(
    values=st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
        lambda shape: arrays(np.float32, shape, elements=st.floats(0, 1, width=32))
    ),
    rows=st.integers(12, 300),
    columns=st.integers(12, 300),
    points=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_regions_never_overlap_and_lie_in_the_image(
    values: np.ndarray, rows: int, columns: int, points: tuple[float, float]
) -> None:
    possible, certain = min(points), max(points)
    regions = find_regions(values, (rows, columns), possible, certain)
    assert len(regions) <= MOST_REGIONS
    probabilities = [region.probability for region in regions]
    assert probabilities == sorted(probabilities, reverse=True)
    assert bool(regions) == bool((values >= possible).any())
    if regions:
        assert probabilities[0] == values.max()
    covered = np.zeros((rows, columns), int)
    for region in regions:
        assert region.row >= 0
        assert region.column >= 0
        assert region.row + region.height <= rows
        assert region.column + region.width <= columns
        assert region.certainty == ("certain" if region.probability >= certain else "possible")
        covered[region.row : region.row + region.height, region.column : region.column + region.width] += 1
    assert covered.max() <= 1
