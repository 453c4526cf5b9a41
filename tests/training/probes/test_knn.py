"""Weighted nearest neighbours against a naive version and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from monai_bone_ssl.training.probes import knn
from monai_bone_ssl.training.probes.knn import knn_probabilities

CLASSES = 3


@pytest.fixture
def train():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 150)
    features = rng.normal(size=(150, 7)) + 1.5 * np.eye(CLASSES, 7)[labels]
    return features.astype(np.float32), labels.astype(np.int64)


@pytest.fixture
def test():
    return np.random.default_rng(1).normal(size=(40, 7)).astype(np.float32)


def _probabilities(train, test, k, temperature=0.07):
    features, labels = (torch.from_numpy(array) for array in train)
    return knn_probabilities(features, labels, torch.from_numpy(test), k, temperature, CLASSES).numpy()


def _naive(train, test, k, temperature):
    """One test row, one neighbour, one vote at a time."""
    rows = []
    for row in test:
        cosines = [row @ known / np.linalg.norm(row) / np.linalg.norm(known) for known in train[0]]
        votes = np.zeros(CLASSES)
        for i in sorted(range(len(cosines)), key=cosines.__getitem__)[-k:]:
            votes[train[1][i]] += np.exp(cosines[i] / temperature)
        rows.append(votes / votes.sum())
    return np.array(rows)


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_votes_equal_the_naive_version(train, test, k, temperature):
    expected = _naive(train, test, k, temperature)
    np.testing.assert_allclose(_probabilities(train, test, k, temperature), expected, atol=1e-5)


def test_at_a_high_temperature_every_neighbour_counts_alike(train, test):
    """Then it is scikit-learn's classifier with the cosine metric and uniform weights."""
    expected = KNeighborsClassifier(20, metric="cosine", algorithm="brute").fit(*train).predict_proba(test)
    np.testing.assert_allclose(_probabilities(train, test, 20, temperature=1e6), expected, atol=1e-5)


def test_more_neighbours_than_images_are_all_images(train, test):
    np.testing.assert_allclose(
        _probabilities(train, test, 200), _probabilities(train, test, len(train[0])), atol=1e-6
    )


def test_length_of_a_feature_vector_does_not_matter(train, test):
    scaled = train[0] * np.linspace(0.1, 10, len(train[0]), dtype=np.float32)[:, None], train[1]
    np.testing.assert_allclose(
        _probabilities(scaled, 3 * test, 10), _probabilities(train, test, 10), atol=1e-5
    )


def test_chunks_do_not_show(train, test, monkeypatch):
    whole = _probabilities(train, test, 10)
    monkeypatch.setattr(knn, "_CHUNK", 7)
    np.testing.assert_allclose(_probabilities(train, test, 10), whole, atol=1e-6)
