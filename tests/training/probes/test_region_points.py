"""Operating points of regions: as many false regions an image as they promise, on what they are fixed on."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from monai_bone_ssl.model.regions import find_regions
from monai_bone_ssl.training.data import AnnotatedBox
from monai_bone_ssl.training.probes.region_points import (
    CERTAIN_FALSE_REGIONS,
    POSSIBLE_FALSE_REGIONS,
    fix_patch_points,
)
from training.labelled import make_dataset

GRID, SHAPE, N = (8, 8), (80, 80), 300


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """Noise with single high patches; those in positive images lie in the outline and are higher."""
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    Image.new("L", SHAPE).save(path)
    rng = np.random.default_rng(0)
    dataset = make_dataset([i % 3 == 0 for i in range(N)], ["hand"] * N, [f"group{i}" for i in range(N)])
    images, scores = [], []
    for image in dataset.images:
        of_image = rng.normal(-7, 0.3, GRID).astype(np.float32)
        for row, column in ((1, 6), (6, 1), (6, 6)):  # apart from each other, outside every outline
            of_image[row, column] = rng.normal(-2, 1)
        if image.label:
            of_image[2, 2] = rng.normal(1, 1)
        boxes = (AnnotatedBox(15, 15, 20, 20),) if image.label else ()
        images.append(replace(image, path=path, boxes=boxes))
        scores.append(of_image)
    return replace(dataset, images=tuple(images)), scores


@pytest.mark.parametrize("outlined", [True, False], ids=["outlines", "image labels"])
def test_points_let_in_as_many_false_regions_as_they_say(problem, outlined):
    dataset, scores = problem
    if not outlined:
        dataset = replace(dataset, images=tuple(replace(image, boxes=()) for image in dataset.images))
    points = fix_patch_points(dataset, scores)
    assert points.fitted_to == ("outlines" if outlined else "image labels")
    for point, promised in (
        (points.possible, POSSIBLE_FALSE_REGIONS),
        (points.certain, CERTAIN_FALSE_REGIONS),
    ):
        false = 0
        for image, of_image in zip(dataset.images, scores, strict=True):
            probabilities = points.calibration.probabilities(of_image).astype(np.float32)
            regions = find_regions(probabilities, SHAPE, point, 1.0)
            if outlined or not image.label:
                false += sum((r.row, r.column) != (20, 20) for r in regions)
        assert false / N == pytest.approx(promised, abs=0.02)


def test_the_probability_of_a_region_is_the_share_of_true_ones(problem):
    dataset, scores = problem
    points = fix_patch_points(dataset, scores)
    regions = [
        (region.probability, (region.row, region.column) == (20, 20))
        for of_image in scores
        for region in find_regions(
            points.calibration.probabilities(of_image).astype(np.float32), SHAPE, 0.05, 1.0
        )
    ]
    probabilities, true = np.array(regions).T
    assert probabilities.mean() == pytest.approx(true.mean(), abs=0.05)
    assert true[probabilities > 0.7].mean() > 0.6 > 0.3 > true[probabilities < 0.3].mean()
