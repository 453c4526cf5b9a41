"""Folds that keep patients whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_trees import write_fracatlas, write_image
from outside import shared

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.data import LabelledDataset, load_dataset, range_splits, splits
from training.labelled import make_dataset


def _many_patients(root: Path) -> LabelledDataset:
    write_image(root / "a.png")
    (root / "list.csv").write_text(
        "path,label,part,patient\n"
        + "".join(f"./{'./' * i}a.png,{int(i % 4 == 0)},hand,{i // 3}\n" for i in range(90))
    )
    return load_dataset(root / "list.csv")


def test_splits_keep_groups_whole_and_test_every_image_once(tmp_path: Path) -> None:
    dataset = _many_patients(tmp_path)
    tested = []
    for train, test in splits(dataset, n_splits=5, seed=1):
        assert not set(dataset.groups[train]) & set(dataset.groups[test])
        assert sorted([*train, *test]) == list(range(90))
        assert set(dataset.labels[test]) == {0, 1}
        tested += test.tolist()
    assert sorted(tested) == list(range(90))


def test_splits_follow_the_seed(tmp_path: Path) -> None:
    dataset = _many_patients(tmp_path)
    first, again, other = ([t.tolist() for _, t in splits(dataset, seed=seed)] for seed in (0, 0, 1))
    assert first == again != other


def test_too_few_groups_for_the_folds_are_refused(tmp_path: Path) -> None:
    dataset = load_dataset(write_fracatlas(tmp_path))
    with pytest.raises(ConfigError, match="1 groups with a positive image, expected at least 5 for 5 folds"):
        list(splits(dataset))


def test_a_range_is_left_out_with_every_group_that_touches_it() -> None:
    acquisitions = ["a", "a", "a", "b", "b", "c", "c", "c"]
    dataset = make_dataset(
        [0, 1, 0, 0, 1, 0, 1, 1], ["hand"] * 8, list("ppqqrstt"), acquisitions=acquisitions
    )
    folds = [(train.tolist(), test.tolist()) for train, test in range_splits(dataset)]
    # Patient q has images in ranges a and b.
    assert folds == [([4, 5, 6, 7], [0, 1, 2]), ([0, 1, 5, 6, 7], [3, 4]), ([0, 1, 2, 3, 4], [5, 6, 7])]


def test_ranges_that_are_none_or_hold_a_whole_class_are_refused() -> None:
    with pytest.raises(ConfigError, match="no acquisition ranges, expected at least two"):
        list(range_splits(make_dataset([0, 1], ["hand"] * 2, "pq", acquisitions=["a", "a"])))
    confounded = make_dataset([0, 0, 1, 1], ["hand"] * 4, "pqrs", acquisitions=list("aabb"))
    with pytest.raises(ConfigError, match="without acquisition range a and its patients, the images"):
        list(range_splits(confounded))


def test_every_image_of_fracatlas_is_left_out_once() -> None:
    dataset = load_dataset(shared("data/fracatlas"))
    tested = np.concatenate([test for _, test in range_splits(dataset)])
    assert sorted(tested) == list(range(len(dataset)))
    for train, test in range_splits(dataset):
        assert not set(dataset.groups[train]) & set(dataset.groups[test])
        assert not set(dataset.ranges[train]) & set(dataset.ranges[test])


def test_take_keeps_the_order_given(tmp_path: Path) -> None:
    dataset = load_dataset(write_fracatlas(tmp_path))
    assert dataset.take(np.array([3, 0])).parts.tolist() == ["hip", "hand"]
