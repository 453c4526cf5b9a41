"""The distance to the training images against the Mahalanobis distance by definition."""

from __future__ import annotations

import numpy as np
import pytest

from monai_bone_ssl.training.probes.novelty import fit_novelty, out_of_fold_distances


@pytest.fixture
def features():
    rng = np.random.default_rng(5)
    return (rng.normal(size=(300, 6)) * [1, 5, 0.1, 1, 1, 2] + [0, 10, 0, -3, 0, 1]).astype(np.float32)


def test_distance_is_one_on_average_and_grows_with_distance(features):
    novelty = fit_novelty(features)
    distances = novelty.distances(features)
    assert np.sqrt(np.square(distances).mean()) == pytest.approx(1.0, abs=0.01)
    centred = np.linalg.inv(np.cov(features.astype(np.float64), rowvar=False))
    offset = features.astype(np.float64) - features.mean(axis=0)
    naive = np.sqrt(np.einsum("nd,de,ne->n", offset, centred, offset) / features.shape[1])
    np.testing.assert_allclose(distances, naive, rtol=0.01)


def test_distances_are_out_of_fold(features):
    features[0] += 1000
    index = np.arange(len(features))
    folds = [(index[index % 5 != i], index[index % 5 == i]) for i in range(5)]
    distances = out_of_fold_distances(features, folds)
    assert distances[0] > 50, "an image may not make itself familiar"
