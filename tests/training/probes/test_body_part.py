"""The probe of the body part: classes that no image has, and an accuracy that no image gives itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monai_bone_ssl.body_parts import FRACATLAS_PARTS
from monai_bone_ssl.training.probes.body_part import (
    body_part_accuracy,
    fit_body_part_probe,
    fit_class_probe,
)
from training.labelled import make_dataset

PARTS = {name: FRACATLAS_PARTS[name] for name in ("hand", "leg")}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("present", [(0,), (0, 2), (0, 1, 2)])
def test_class_probe_gives_each_class_a_logit(rng, present):
    features = rng.normal(size=(300, 6)).astype(np.float32)
    labels = rng.choice(present, len(features)).astype(np.int64)
    features[:, 0] += 5 * labels
    logits = fit_class_probe(features, labels, classes=3, strength=1.0).logits(features)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    assert shares.shape == (len(features), 3)
    assert (shares.argmax(axis=1) == labels).mean() > 0.9
    absent = [c for c in range(3) if c not in present]
    assert np.all(shares[:, absent] == 0)


def _two_parts_and_mixed(rng):
    """Features whose first column tells hands from legs; every fifth image shows both."""
    n = 200
    parts = np.where(np.arange(n) % 5 == 0, "mixed", np.where(np.arange(n) % 2 == 0, "hand", "leg"))
    features = rng.normal(size=(n, 4)).astype(np.float32)
    features[:, 0] += np.where(parts == "leg", 4, -4)
    dataset = make_dataset(rng.integers(0, 2, n), parts, [f"group{i // 2}" for i in range(n)])
    return features, replace(dataset, known_parts=PARTS)


def test_the_probe_names_one_of_the_regions(rng):
    features, dataset = _two_parts_and_mixed(rng)
    logits = fit_body_part_probe(features, dataset).logits(features)
    assert logits.shape == (200, 2)
    single = dataset.parts != "mixed"
    assert np.all(np.array(list(PARTS))[logits.argmax(axis=1)][single] == dataset.parts[single])


def test_the_accuracy_is_out_of_fold(rng):
    """Features that name the image alone: a probe that saw it would be right, others can only guess."""
    features, dataset = _two_parts_and_mixed(rng)
    assert body_part_accuracy(features, dataset).value > 0.95
    blind = rng.normal(size=(200, 4000)).astype(np.float32)
    known = fit_body_part_probe(blind, dataset).logits(blind).argmax(axis=1)
    single = dataset.parts != "mixed"
    assert (np.array(list(PARTS))[known] == dataset.parts)[single].mean() > 0.95
    assert body_part_accuracy(blind, dataset).value < 0.7
