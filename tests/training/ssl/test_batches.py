"""Which images make a batch, held against counting them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.data.unlabelled import ImageSources, UnlabelledImage
from monai_bone_ssl.training.ssl.batches import Batches, BatchPlan, collate
from training.ssl.runs import ALONE


class Pictures:
    """Stands in for the decoded images: image i is i + 1 everywhere and i % 3 + 2 rows high."""

    def __getitem__(self, index):
        return np.full((index % 3 + 2, 4), index + 1, dtype=np.uint8)


def plan(*sizes, batch_size=4, seed=0, partners=None):
    starts = np.cumsum([0, *sizes])
    sources = [np.arange(start, start + size) for start, size in zip(starts[:-1], sizes, strict=True)]
    return BatchPlan(sources, partners or {}, batch_size, seed)


def test_order_is_a_function_of_seed_and_epoch_alone():
    one, same, other = plan(20), plan(20), plan(20, seed=1)
    later = one.epoch(7)
    assert np.array_equal(later, same.epoch(7)), "whatever was asked before"
    assert not np.array_equal(one.epoch(0), one.epoch(1))
    assert not np.array_equal(one.epoch(0), other.epoch(0))


def test_sources_count_as_the_square_root_of_their_size():
    images = np.concatenate([plan(100, 400, batch_size=10).epoch(epoch)[0].ravel() for epoch in range(12)])
    assert len(images) == 12 * 500
    assert (images < 100).mean() == pytest.approx(1 / 3, abs=0.001), "10 : 20"


def test_every_image_of_a_source_comes_equally_often():
    counted = plan(7, 20, batch_size=1)  # batches of one leave nothing over
    images = np.concatenate([counted.epoch(epoch)[0].ravel() for epoch in range(40)]).tolist()
    counts = Counter(images)
    for source in (range(7), range(7, 27)):
        times = [counts[image] for image in source]
        assert max(times) - min(times) <= 1


def test_one_source_is_an_epoch_without_repetition():
    images, partners = plan(20).epoch(3)
    assert images.shape == (5, 4)
    assert sorted(images.ravel()) == list(range(20))
    assert np.array_equal(images, partners), "no studies: each is its own partner"


def test_partners_are_other_images_of_the_same_study():
    described = [
        UnlabelledImage(path=None, part=None, group=None, study=study)
        for study in ("a", "a", "a", "b", "b", None, None, "a", "a")
    ]
    sources = ImageSources(("one", "two"), tuple(described), (0, 0, 0, 0, 0, 0, 0, 1, 1))
    partners = sources.study_partners(np.array([0, 1, 2, 3, 5, 6, 7, 8]))  # image 4 could not be read
    assert {key: value.tolist() for key, value in partners.items()} == {
        0: [1, 2],
        1: [0, 2],
        2: [0, 1],
        7: [8],
        8: [7],
    }
    partnered = plan(9, partners=partners)
    partners_of = {}
    for epoch in range(30):
        for image, partner in zip(*(rows.ravel().tolist() for rows in partnered.epoch(epoch)), strict=True):
            partners_of.setdefault(image, set()).add(partner)
    assert partners_of == {0: {1, 2}, 1: {0, 2}, 2: {0, 1}, 3: {3}, 4: {4}, 5: {5}, 6: {6}, 7: {8}, 8: {7}}


def test_processes_share_the_batches_of_one_process():
    batches = list(islice(Batches(Pictures(), plan(13), 4, ALONE), 7))
    two = [replace(ALONE, rank=rank, count=2) for rank in (0, 1)]
    halves = [list(islice(Batches(Pictures(), plan(13), 4, process), 7)) for process in two]
    for batch, first, second in zip(batches, *halves, strict=True):
        assert (batch.epoch, batch.step) == (first.epoch, first.step) == (second.epoch, second.step)
        for name in ("canvases", "sizes", "partner_canvases", "partner_sizes"):
            both = np.concatenate([getattr(first, name), getattr(second, name)])
            assert np.array_equal(getattr(batch, name), both)


def test_batches_go_on_from_the_first_epoch_asked_for():
    every = list(islice(Batches(Pictures(), plan(12), 4, ALONE), 9))
    assert [(batch.epoch, batch.step) for batch in every] == [(e, s) for e in range(3) for s in range(3)]
    resumed = Batches(Pictures(), plan(12), 4, ALONE)
    resumed.first_epoch = 2
    for batch, again in zip(every[6:], resumed, strict=False):
        assert (batch.epoch, batch.step) == (again.epoch, again.step)
        assert np.array_equal(batch.canvases, again.canvases)


def test_images_stand_in_the_corner_of_their_canvas():
    canvases, sizes = collate([np.full((2, 3), 9, np.uint8), np.full((4, 1), 5, np.uint8)], 4)
    assert canvases.shape == (2, 1, 4, 4)
    assert sizes.tolist() == [[2, 3], [4, 1]]
    assert canvases[0, 0].tolist() == [[9, 9, 9, 0], [9, 9, 9, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert canvases[1, 0, :, 0].tolist() == [5, 5, 5, 5]
    assert canvases.sum() == 6 * 9 + 4 * 5


def test_own_partners_are_not_decoded_twice():
    batch = next(iter(Batches(Pictures(), plan(8), 4, ALONE)))
    assert batch.partner_canvases is batch.canvases, "views of it are made once then"


def test_fewer_images_than_a_batch_is_an_error():
    with pytest.raises(ConfigError, match="3 images: expected at least one batch of 4"):
        plan(3)
