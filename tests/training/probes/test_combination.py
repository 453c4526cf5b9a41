"""Two probes' answers added: the share is chosen inside cells, and the network's probe is the same sum."""

import numpy as np

from monai_bone_ssl.training.probes.combination import combine_probes
from monai_bone_ssl.training.probes.cross_validation import OutOfFold, cross_validate
from monai_bone_ssl.training.probes.logistic import LinearProbe
from training.labelled import grouped_problem


def problem():
    features, dataset = grouped_problem()
    return cross_validate(features, dataset), dataset


def test_an_answer_that_knows_nothing_gets_no_share():
    pooled, dataset = problem()
    noise = np.random.default_rng(1).normal(size=(3, len(dataset))).astype(np.float32)
    # Against the labels, so that no lucky noise is taken.
    noise -= 5 * dataset.labels.astype(np.float32)
    combined = combine_probes(pooled, OutOfFold(noise, None), dataset)
    assert combined.patch_weight == 0
    np.testing.assert_array_equal(combined.logits.seeds, pooled.logits.seeds)


def test_an_answer_that_knows_more_gets_the_largest_share():
    pooled, dataset = problem()
    told = (dataset.labels + np.random.default_rng(1).normal(size=(3, len(dataset))) / 3).astype(np.float32)
    combined = combine_probes(pooled, OutOfFold(told, None), dataset)
    ratio = combined.patch_weight * told[0].std() / pooled.logits.seeds[0].std()
    np.testing.assert_allclose(ratio, 2, rtol=1e-5)
    expected = pooled.logits.seeds + np.float32(combined.patch_weight) * told
    np.testing.assert_allclose(combined.logits.seeds, expected, rtol=1e-6)


def test_the_probe_of_the_network_is_that_sum():
    pooled, dataset = problem()
    told = np.tile(dataset.labels.astype(np.float32), (3, 1))
    combined = combine_probes(pooled, OutOfFold(told, None), dataset)
    probe = LinearProbe(np.arange(8, dtype=np.float32)[None], np.float32([0.5]))
    features = np.random.default_rng(2).normal(size=(5, 9)).astype(np.float32)
    expected = probe.logits(features[:, :8])[:, 0] + combined.patch_weight * features[:, 8]
    np.testing.assert_allclose(combined.probe(probe).logits(features)[:, 0], expected, rtol=1e-5)
