"""Shares of the training studies: nested, in proportion, drawn from the training images only."""

from __future__ import annotations

import numpy as np
import pytest

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.comparison.label_efficiency import SHARES, training_subset
from training.labelled import grouped_problem, make_dataset, split_by_group


@pytest.fixture
def mura_like():
    """1,000 patients with two studies of two or three images; a third of the studies are positive."""
    rng = np.random.default_rng(0)
    labels, parts, groups, studies = [], [], [], []
    for patient in range(1000):
        for number in range(2):
            n, label, part = (
                rng.integers(2, 4),
                int(rng.random() < 1 / 3),
                str(rng.choice(["elbow", "wrist"])),
            )
            labels += [label] * n
            parts += [part] * n
            groups += [f"group{patient}"] * n
            studies += [f"study{number}"] * n
    return make_dataset(labels, parts, groups, studies)


def _studies(dataset, index):
    return {(dataset.images[i].group, dataset.images[i].study) for i in index}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_subsets_are_nested_whole_studies_of_train(mura_like, seed):
    train, _ = split_by_group(mura_like)
    before: set = set()
    for share in SHARES:
        subset = training_subset(mura_like, train, share, seed)
        assert set(subset) <= set(train)
        studies = _studies(mura_like, subset)
        assert len(studies) == np.ceil(share * 1500)
        whole = [i for i in train if (mura_like.images[i].group, mura_like.images[i].study) in studies]
        np.testing.assert_array_equal(subset, whole)
        assert before <= set(subset)
        before = set(subset)
    assert before == set(train)


def test_parts_and_classes_keep_their_shares(mura_like):
    train, _ = split_by_group(mura_like)
    strata = [(mura_like.images[i].part, mura_like.images[i].label) for i in train]
    for seed in range(5):
        subset = training_subset(mura_like, train, 0.1, seed)
        for part, label in set(strata):

            def studies(index, stratum=(part, label)):
                of_stratum = [
                    i for i in index if (mura_like.images[i].part, mura_like.images[i].label) == stratum
                ]
                return len(_studies(mura_like, of_stratum))

            assert abs(studies(subset) - 0.1 * studies(train)) <= 1


def test_seeds_draw_differently(mura_like):
    train, _ = split_by_group(mura_like)
    one, other = (set(training_subset(mura_like, train, 0.1, seed)) for seed in (0, 1))
    assert len(one & other) < len(one) / 2


def test_whole_groups_where_studies_are_unknown():
    _, dataset = grouped_problem(n_groups=60)
    train, _ = split_by_group(dataset)
    subset = training_subset(dataset, train, 0.25, 0)
    chosen = set(dataset.groups[subset])
    np.testing.assert_array_equal(subset, [i for i in train if dataset.groups[i] in chosen])
    assert len(chosen) == np.ceil(0.25 * 45)


def test_small_shares_hold_enough_groups_of_each_class():
    """1 % of 60 groups is one; inner folds need five with a positive, and these are rare here."""
    groups = [f"group{i}" for i in range(60)]
    labels = np.array([i % 10 == 0 for i in range(60)], dtype=int)
    dataset = make_dataset(labels, ["hand"] * 60, groups)
    for seed in range(3):
        subset = training_subset(dataset, np.arange(60), 0.01, seed)
        assert dataset.labels[subset].sum() == 5
        assert 5 <= len(subset) < 60


@pytest.mark.parametrize("share", [0.0, 1.5, -0.1])
def test_share_out_of_range_is_refused(share):
    _, dataset = grouped_problem()
    with pytest.raises(ConfigError, match="above 0"):
        training_subset(dataset, np.arange(len(dataset)), share, 0)
