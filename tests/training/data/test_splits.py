"""Folds that keep patients whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_trees import write_fracatlas, write_image

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.data import LabelledDataset, load_dataset, splits


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


def test_take_keeps_the_order_given(tmp_path: Path) -> None:
    dataset = load_dataset(write_fracatlas(tmp_path))
    assert dataset.take(np.array([3, 0])).parts.tolist() == ["hip", "hand"]
