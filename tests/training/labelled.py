"""Labelled data without files, for tests of what is chosen and fitted on features."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np

from monai_bone_ssl.findings import FRACTURE
from monai_bone_ssl.training.data.dataset import DataSource, LabelledDataset, LabelledImage


def make_dataset(labels, parts, groups, studies=None) -> LabelledDataset:
    """n images; every argument is [n]."""
    studies = [None] * len(labels) if studies is None else studies
    images = tuple(
        LabelledImage(Path(f"{i}.png"), f"{i}.png", int(label), str(part), str(group), study)
        for i, (label, part, group, study) in enumerate(zip(labels, parts, groups, studies, strict=True))
    )
    return LabelledDataset(images, MappingProxyType({}), FRACTURE, DataSource("made", "none", "none"))


def grouped_problem(n_groups=60, per_group=4, width=8, seed=0):
    """Features [n, width] and a data set of one part; labels follow feature 0 noisily."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), per_group)
    features = rng.normal(size=(len(groups), width)).astype(np.float32)
    labels = (2 * features[:, 0] + rng.logistic(size=len(groups)) > 0).astype(np.int64)
    return features, make_dataset(labels, ["hand"] * len(labels), [f"group{g}" for g in groups])


def split_by_group(dataset, share=0.75):
    """Indices of the images of the first groups, and of the others."""
    numbers = np.array([int(group.removeprefix("group")) for group in dataset.groups])
    known = numbers < share * (numbers.max() + 1)
    return np.flatnonzero(known), np.flatnonzero(~known)
