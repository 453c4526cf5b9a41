"""Network input: whole patches, aspect kept, contrast between two percentiles."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_bone_ssl.dicom.collimation import ExposedField
from monai_bone_ssl.errors import ReasonCode, UnsupportedImage
from monai_bone_ssl.model.preprocessing import PreprocessSpec, preprocess

SPEC = PreprocessSpec(long_side=56, patch_size=14, low_percentile=1.0, high_percentile=99.0)


def ramp(rows: int, columns: int) -> np.ndarray:
    return np.linspace(0, 1, rows * columns, dtype=np.float32).reshape(rows, columns)


@given(rows=st.integers(64, 20_000), columns=st.integers(64, 20_000))
def test_size_is_whole_patches_with_the_aspect_kept(rows: int, columns: int) -> None:
    height, width = PreprocessSpec(448, 14, 1.0, 99.0).size(rows, columns)
    assert max(height, width) == 448
    assert height % 14 == width % 14 == 0
    long, short = max(rows, columns), min(rows, columns)
    assert abs(min(height, width) - 448 * short / long) <= 7 or min(height, width) == 14
    assert (height >= width) == (rows >= columns) or abs(height - width) == 0


@pytest.mark.parametrize(("rows", "columns"), [(300, 200), (64, 64), (40, 90), (1500, 64)])
def test_input_fills_the_range(rows: int, columns: int) -> None:
    image = preprocess(ramp(rows, columns), SPEC)
    assert image.shape == SPEC.size(rows, columns)
    assert image.dtype == np.float32
    assert (image.min(), image.max()) == (0.0, 1.0)


def test_without_resampling_the_values_are_those_of_the_formula() -> None:
    pixels = np.random.default_rng(0).random((56, 28), dtype=np.float32)
    low, high = np.percentile(pixels[pixels > pixels.min()], (1, 99))
    expected = np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1)
    np.testing.assert_allclose(preprocess(pixels, SPEC), expected, atol=1e-6)


def test_contrast_and_brightness_of_the_source_do_not_matter() -> None:
    pixels = ramp(80, 60)
    np.testing.assert_allclose(preprocess(0.3 + 0.2 * pixels, SPEC), preprocess(pixels, SPEC), atol=1e-4)


def test_reduction_averages_and_does_not_skip_pixels() -> None:
    """Single-pixel noise, ten times reduced, all but vanishes."""
    noise = np.indices((560, 560)).sum(axis=0) % 2
    pixels = (0.9 * ramp(560, 560) + 0.1 * noise).astype(np.float32)
    difference = preprocess(pixels, SPEC) - preprocess(ramp(560, 560), SPEC)
    assert np.abs(difference).max() < 0.02


def test_the_source_is_not_changed() -> None:
    pixels = ramp(80, 60)
    before = pixels.copy()
    preprocess(pixels, SPEC)
    np.testing.assert_array_equal(pixels, before)


def test_an_image_of_less_than_one_grey_level_is_refused() -> None:
    """One of the 255 steps of a display, between the two percentiles."""

    def two_halves(levels: float) -> np.ndarray:
        pixels = np.repeat(np.float32([0.5, 0.5 + levels / 255]), 28 * 28).reshape(56, 28)
        pixels[0, 0] = 0.4  # one pixel of padding
        return pixels

    for levels in (0.0, 0.5, 0.999):
        with pytest.raises(UnsupportedImage, match="less than 1/255") as refused:
            preprocess(two_halves(levels), SPEC)
        assert refused.value.code is ReasonCode.BLANK_IMAGE
    image = preprocess(two_halves(1.001), SPEC)
    assert set(image.ravel()) == {0.0, 1.0}


def test_outside_the_field_everything_is_black_and_counts_for_nothing() -> None:
    """Whatever stands there, the field looks the same."""
    field = ExposedField((560, 420), (np.array([(100, 50), (100, 420), (560, 420), (560, 50)], float),))
    inside = field.mask(56, 42)
    deep = inside & (np.indices(inside.shape) > [[[12]], [[7]]]).all(axis=0)  # resampling mixes neighbours
    prepared = []
    for level in (0.3, 1.0):
        pixels = np.where(field.mask(560, 420), 0.2 + 0.5 * ramp(560, 420), np.float32(level))
        prepared.append(preprocess(pixels, SPEC, field))
    for image in prepared:
        assert not image[~inside].any()
        assert image[inside].max() == 1.0
    np.testing.assert_allclose(prepared[0][deep], prepared[1][deep], atol=0.02)


def test_a_white_border_is_found_where_no_field_is_given() -> None:
    pixels = 0.1 + 0.5 * ramp(560, 420)
    pixels[:, :60] = 1.0
    image = preprocess(pixels, SPEC)
    assert not image[:, :6].any()
    assert image[:, 8:].max() == 1.0


@pytest.mark.parametrize("padding", [0.0, 0.1])
def test_padding_does_not_change_the_contrast(padding: float) -> None:
    """A rotated image, with the lowest value in the corners."""
    pixels = 0.2 + 0.5 * np.random.default_rng(0).random((56, 56), dtype=np.float32)
    corner = np.add(*np.indices(pixels.shape)) < 30
    low, high = np.percentile(pixels[~corner], (1, 99))
    expected = np.clip((pixels - low) / (high - low), 0, 1)
    padded = np.where(corner, np.float32(padding), pixels)
    np.testing.assert_allclose(preprocess(padded, SPEC)[~corner], expected[~corner], atol=1e-5)


def test_an_image_that_is_blank_inside_its_field_is_refused() -> None:
    pixels = ramp(80, 60)
    pixels[20:] = 0.5
    field = ExposedField((80, 60), (np.array([(30, 0), (30, 60), (80, 60), (80, 0)], float),))
    with pytest.raises(UnsupportedImage, match="blank"):
        preprocess(pixels, SPEC, field)


@pytest.mark.parametrize(
    "wrong",
    [
        {"long_side": 60},
        {"long_side": 0},
        {"patch_size": 0},
        {"patch_size": -14},
        {"low_percentile": 99.0},
        {"low_percentile": -1.0},
        {"high_percentile": 101.0},
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    text = msgspec.json.encode(msgspec.to_builtins(SPEC) | wrong)
    with pytest.raises(msgspec.ValidationError, match="expected"):
        msgspec.json.decode(text, type=PreprocessSpec)


@pytest.mark.parametrize("recipe", [(14, 14, 0.0, 100.0), (5, 1, 0.0, 90.0)])
def test_a_recipe_at_the_limits_is_accepted(recipe: tuple[int, int, float, float]) -> None:
    spec = PreprocessSpec(*recipe)
    assert max(preprocess(ramp(80, 60), spec).shape) == spec.long_side
