"""Decoded images: the same pixels as the product's preprocessing, made once."""

from __future__ import annotations

import os
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image
from toy_radiographs import write_limbs

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.model.preprocessing import PreprocessSpec, preprocess
from monai_bone_ssl.training.compute import image_cache
from monai_bone_ssl.training.compute.image_cache import open_image_cache
from monai_bone_ssl.training.data import read_grey, read_input

SPEC = PreprocessSpec(64, 16, 1.0, 99.0)


@pytest.fixture
def paths(tmp_path):
    write_limbs(tmp_path / "data", 6)
    return sorted((tmp_path / "data").glob("*.png"))


def test_pixels_are_those_of_the_preprocessing_in_256_grey_levels(paths, tmp_path):
    images = open_image_cache(paths, SPEC, tmp_path / "cache")
    assert images.usable.tolist() == list(range(6))
    for index, path in enumerate(paths):
        exact = preprocess(read_grey(path), SPEC)
        assert images[index].shape == exact.shape
        assert np.abs(images[index] / 255 - exact).max() <= 0.5 / 255 + 1e-6


def test_shapes_differ_and_none_is_padded(paths, tmp_path):
    images = open_image_cache(paths, SPEC, tmp_path / "cache")
    assert {images[index].shape for index in range(6)} == {(48, 64), (64, 48)}
    (pixels,) = (tmp_path / "cache").rglob("pixels.u8")
    assert pixels.stat().st_size == 6 * 48 * 64


def test_second_run_decodes_nothing_even_where_the_files_were_moved(paths, tmp_path, monkeypatch):
    first = open_image_cache(paths, SPEC, tmp_path / "cache")
    shutil.move(tmp_path / "data", tmp_path / "moved")

    def never(*_args):
        raise AssertionError("decoded again")

    monkeypatch.setattr(image_cache, "read_input", never)
    again = open_image_cache(sorted((tmp_path / "moved").glob("*.png")), SPEC, tmp_path / "cache")
    assert all(np.array_equal(again[index], first[index]) for index in range(6))


@pytest.mark.parametrize("change", ["content", "order", "recipe"])
def test_what_changed_is_decoded_anew(change, paths, tmp_path):
    first = open_image_cache(paths, SPEC, tmp_path / "cache")
    spec = SPEC
    if change == "content":
        Image.open(paths[0]).transpose(Image.Transpose.ROTATE_180).save(paths[0])
    elif change == "order":
        paths = paths[::-1]
    else:
        spec = PreprocessSpec(64, 16, 5.0, 99.0)
    second = open_image_cache(paths, spec, tmp_path / "cache")
    assert second.key != first.key
    assert not np.array_equal(second[0], first[0])


def test_broken_and_blank_images_are_named_and_left_out(paths, tmp_path):
    paths[1].write_bytes(b"not an image")
    Image.new("L", (64, 64), 7).save(paths[4])
    images = open_image_cache(paths, SPEC, tmp_path / "cache")
    assert images.usable.tolist() == [0, 2, 3, 5]
    broken, blank = images.left_out
    assert broken.startswith(f"{paths[1].name}: ")
    assert broken.count(paths[1].name) == 1
    assert blank.startswith(f"{paths[4].name}: ")
    assert "blank" in blank
    exact = preprocess(read_grey(paths[5]), SPEC)
    assert np.abs(images[5] / 255 - exact).max() < 1 / 255, "those after a gap stand in their place"


def test_interrupted_decoding_leaves_nothing_that_looks_complete(paths, tmp_path, monkeypatch):
    def interrupted(path, spec):
        if path == paths[3]:
            raise KeyboardInterrupt
        return read_input(path, spec)

    with monkeypatch.context() as patched:
        patched.setattr(image_cache, "read_input", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_image_cache(paths, SPEC, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert open_image_cache(paths, SPEC, tmp_path / "cache").usable.size == 6


def test_no_more_threads_decode_than_the_process_may_use(paths, tmp_path, monkeypatch):
    """A container may be given one core of many."""
    decoding = set()

    def noted(path, spec):
        decoding.add(threading.get_ident())
        time.sleep(0.02)  # long enough for a second thread to take the next image
        return read_input(path, spec)

    monkeypatch.setattr(image_cache, "read_input", noted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0}, raising=False)
    open_image_cache(paths, SPEC, tmp_path / "cache")
    assert len(decoding) == 1


def test_nothing_usable_is_an_error_that_shows_a_cause(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"none of 1 images can be used: a\.png: "):
        open_image_cache([path], SPEC, tmp_path / "cache")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.png: cannot be read"):
        open_image_cache([tmp_path / "gone.png"], SPEC, tmp_path / "cache")
