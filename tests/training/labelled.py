"""Labelled data without files, for tests of what is chosen and fitted on features."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np

from monai_bone_ssl.findings import FRACTURE
from monai_bone_ssl.training.data.dataset import DataSource, LabelledDataset, LabelledImage


def make_dataset(labels, parts, groups, studies=None, acquisitions=None) -> LabelledDataset:
    """n images; every argument is [n]."""
    nothing = [None] * len(labels)
    columns = zip(labels, parts, groups, studies or nothing, acquisitions or nothing, strict=True)
    images = tuple(
        LabelledImage(
            Path(f"{i}.png"), f"{i}.png", int(label), str(part), str(group), study, acquisition=acquisition
        )
        for i, (label, part, group, study, acquisition) in enumerate(columns)
    )
    return LabelledDataset(images, MappingProxyType({}), FRACTURE, DataSource("made", "none", "none"))


def grouped_problem(n_groups=60, per_group=4, width=8, seed=0):
    """Features [n, width] and a data set of one part; labels follow feature 0 noisily."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), per_group)
    features = rng.normal(size=(len(groups), width)).astype(np.float32)
    labels = (2 * features[:, 0] + rng.logistic(size=len(groups)) > 0).astype(np.int64)
    return features, make_dataset(labels, ["hand"] * len(labels), [f"group{g}" for g in groups])


def problem_with_shortcut(n_ranges=6, per_range=60, seed=0):
    """Features [n, 8] and a data set of four images a group, whose acquisition ranges tell the label.

    Feature 0 follows the label noisily, everywhere alike; feature 1 is larger in ranges with more positives.
    """
    rng = np.random.default_rng(seed)
    ranges = np.repeat(np.arange(n_ranges), per_range)
    groups = [f"group{i // 4}" for i in range(len(ranges))]
    share = np.where(ranges % 2, 0.8, 0.2)
    labels = (rng.random(len(ranges)) < share).astype(np.int64)
    features = rng.normal(size=(len(ranges), 8)).astype(np.float32)
    features[:, 0] += labels
    features[:, 1] += 4 * (ranges % 2)
    acquisitions = [f"day{r}" for r in ranges]
    return features, make_dataset(labels, ["hand"] * len(labels), groups, acquisitions=acquisitions)


def split_by_group(dataset, share=0.75):
    """Indices of the images of the first groups, and of the others."""
    numbers = np.array([int(group.removeprefix("group")) for group in dataset.groups])
    known = numbers < share * (numbers.max() + 1)
    return np.flatnonzero(known), np.flatnonzero(~known)
