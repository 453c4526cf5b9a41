"""Regions against outlines, computed by hand and against a naive search and bootstrap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_bone_ssl.findings import Region
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap
from monai_bone_ssl.training.data import AnnotatedBox, LabelledImage
from monai_bone_ssl.training.measure.froc import FALSE_REGIONS, MIN_IOU, froc, overlap

SHAPE = (100, 100)


def _image(number: int, *boxes: AnnotatedBox, label: int | None = None, group: str = "") -> LabelledImage:
    name = f"{number}.png"
    label = int(bool(boxes)) if label is None else label
    return LabelledImage(Path(name), name, label, "hand", group or f"p{number}", boxes=boxes)


def _region(row: int, column: int, height: int, width: int, probability: float) -> Region:
    return Region(row, column, height, width, probability, "possible")


def _froc(images, regions):
    return froc(images, regions, [SHAPE if image.boxes else None for image in images])


BOX = AnnotatedBox(x=10.0, y=20.0, width=20.0, height=10.0)
OTHER = AnnotatedBox(x=60.0, y=60.0, width=10.0, height=10.0)


def test_by_hand() -> None:
    images = [_image(0, BOX, OTHER), _image(1, BOX), _image(2), _image(3), _image(4, label=1)]
    regions = [
        # The first box is hit twice, the second never; one false region.
        [_region(20, 10, 10, 20, 0.9), _region(22, 12, 4, 4, 0.8), _region(0, 0, 4, 4, 0.3)],
        [_region(70, 70, 4, 4, 0.6), _region(24, 18, 4, 4, 0.5)],  # false, then right
        [_region(0, 0, 10, 10, 0.2)],
        [],
        [_region(0, 0, 10, 10, 0.95)],  # a positive image that nobody outlined is left out
    ]
    figures = _froc(images, regions)
    assert (figures.n_images, figures.n_outlines) == (4, 3)
    assert figures.outlines_hit.value == pytest.approx(2 / 3)
    assert figures.false_regions.value == pytest.approx(3 / 4)
    # At 0.1 false regions an image none may come in, at 0.5 two (0.6, 0.3), at 1 all three.
    at = {name: estimate.value for name, estimate in figures.sensitivity_at_false_regions.items()}
    assert at == {"0.1": pytest.approx(1 / 3), "0.5": pytest.approx(2 / 3), "1": pytest.approx(2 / 3)}
    # By overlap the small regions do not count: 0.8, 0.6, 0.5, 0.3 and 0.2 are false.
    at = {name: estimate.value for name, estimate in figures.sensitivity_at_false_regions_iou_30.items()}
    assert at == {"0.1": pytest.approx(1 / 3), "0.5": pytest.approx(1 / 3), "1": pytest.approx(1 / 3)}
    # Three regions in the first image, two in the second; the boxes cover 2 %, 1 % and 2 % of them.
    assert figures.chance == pytest.approx((1 - 0.98**3 + 1 - 0.99**3 + 1 - 0.98**2) / 3)


@pytest.mark.parametrize(
    ("row", "column", "hit"),
    [(20, 10, True), (19, 10, False), (29, 29, True), (30, 29, False), (29, 30, False)],
)
def test_the_centre_decides_whatever_the_size(row: int, column: int, hit: bool) -> None:
    for half in (1, 8):
        region = _region(row - half, column - half, 2 * half, 2 * half, 0.5)
        figures = _froc([_image(0, BOX), _image(1)], [[region], []])
        assert figures.outlines_hit.value == float(hit)
        assert figures.false_regions.value == (0.0 if hit else 0.5)


def test_overlap_is_counted_in_pixels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        row, column, height, width = (int(v) for v in rng.integers(1, 40, 4))
        box = AnnotatedBox(*(float(v) for v in rng.integers(1, 40, 4)))
        rows, columns = np.mgrid[:100, :100] + 0.5
        marked = (rows > row) & (rows < row + height) & (columns > column) & (columns < column + width)
        outlined = (rows > box.y) & (rows < box.y + box.height)
        outlined &= (columns > box.x) & (columns < box.x + box.width)
        expected = (marked & outlined).sum() / (marked | outlined).sum()
        assert overlap(_region(row, column, height, width, 0.5), box) == pytest.approx(expected)


def _random(seed: int):
    rng = np.random.default_rng(seed)
    images, regions = [], []
    for number in range(40):
        boxes = [AnnotatedBox(*(float(v) for v in rng.integers(5, 50, 4))) for _ in range(rng.integers(0, 3))]
        images.append(_image(number, *boxes, group=f"p{number // 3}"))
        marks = [[int(v) for v in rng.integers(1, 60, 4)] for _ in range(rng.integers(0, 4))]
        regions.append([_region(*mark, float(rng.integers(1, 10)) / 10) for mark in marks])
    return images, regions


def _naive(images, regions, weights, limit: float, least: float | None):
    """The best sensitivity [b] over all thresholds for weights [b, n], by definition."""

    def is_hit(region, box):
        if least is not None:
            return overlap(region, box) >= least
        y, x = region.row + region.height / 2, region.column + region.width / 2
        return box.y <= y < box.y + box.height and box.x <= x < box.x + box.width

    best, n_outlines = np.zeros(len(weights)), weights @ [len(image.boxes) for image in images]
    for threshold in [0.1 * i for i in range(1, 12)]:
        hit, false = [], []
        for image, marks in zip(images, regions, strict=True):
            kept = [mark for mark in marks if mark.probability >= threshold - 1e-9]
            hit.append(sum(any(is_hit(mark, box) for mark in kept) for box in image.boxes))
            false.append(sum(not any(is_hit(mark, box) for box in image.boxes) for mark in kept))
        allowed = weights @ false <= limit * weights.sum(axis=1) + 1e-9
        best = np.maximum(best, np.where(allowed, weights @ hit / n_outlines, 0))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_values_agree_with_a_naive_search(seed: int) -> None:
    images, regions = _random(seed)
    figures, once = _froc(images, regions), np.ones((1, len(images)))
    for limit in FALSE_REGIONS:
        at, at_overlap = (
            by_rule[f"{limit:g}"].value
            for by_rule in (
                figures.sensitivity_at_false_regions,
                figures.sensitivity_at_false_regions_iou_30,
            )
        )
        assert at == pytest.approx(_naive(images, regions, once, limit, None)[0])
        assert at_overlap == pytest.approx(_naive(images, regions, once, limit, MIN_IOU)[0])


def test_intervals_agree_with_a_naive_bootstrap_over_the_same_patients() -> None:
    images, regions = _random(3)
    drawn = cluster_bootstrap(lambda w: w, np.array([image.group for image in images]))
    low, high = np.percentile(_naive(images, regions, drawn, 0.5, None), (2.5, 97.5))
    estimate = _froc(images, regions).sensitivity_at_false_regions["0.5"]
    assert (estimate.ci_low, estimate.ci_high) == pytest.approx((low, high))


def test_a_model_without_a_single_region_hits_nothing() -> None:
    figures = _froc([_image(0, BOX), _image(1)], [[], []])
    assert figures.outlines_hit.value == figures.false_regions.value == figures.chance == 0.0
    assert {e.value for e in figures.sensitivity_at_false_regions.values()} == {0.0}
