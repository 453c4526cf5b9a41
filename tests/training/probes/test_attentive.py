"""Attentive probe against attention written out, and on a task that no mean of tokens can solve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from monai_bone_ssl.training.probes.attentive import AttentiveProbe, fit_attentive, predict_held_out_attentive
from monai_bone_ssl.training.probes.nested import predict_held_out
from training.labelled import make_dataset, split_by_group


def _probe(width, seed=0):
    return AttentiveProbe(width, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("width", "heads"), [(128, 2), (48, 1)])
def test_logits_equal_attention_written_out(width, heads):
    probe = _probe(width).double()
    with torch.no_grad():
        probe.query.mul_(50)  # so that the attention is far from even
    tokens = torch.randn(3, 7, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    normed = probe.norm(tokens)
    keys, values = (normed @ half.T for half in probe.key_value.weight.chunk(2))
    gathered = []
    for head in range(heads):
        here = slice(head * width // heads, (head + 1) * width // heads)
        score = keys[:, :, here] @ probe.query[0, 0, here] / (width / heads) ** 0.5  # [3, 7]
        share = score.exp() / score.exp().sum(dim=1, keepdim=True)
        gathered.append((share[:, :, None] * values[:, :, here]).sum(dim=1))
    summary = probe.query[0, 0] + torch.cat(gathered, dim=1) @ probe.project.weight.T
    expected = probe.decide(summary)[:, 0]
    torch.testing.assert_close(probe(tokens), expected)


def test_order_of_the_tokens_does_not_matter():
    tokens = torch.randn(2, 9, 64, generator=torch.Generator().manual_seed(1))
    probe = _probe(64)
    torch.testing.assert_close(probe(tokens), probe(tokens.flip(1)))


def test_initial_weights_come_from_the_generator_alone():
    torch.manual_seed(1)
    one = _probe(64).state_dict()
    torch.manual_seed(2)
    other = _probe(64).state_dict()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def _needle(n=320, length=12, width=16):
    """A positive has one token that points along axis 0 and stands out; decoys cancel it in the mean."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    tokens = 0.3 * rng.normal(size=(n, length, width))
    place = rng.integers(0, length, n)
    tokens[np.arange(n), place, 0] += np.where(labels == 1, 4, -4)
    tokens[:, :, 0] -= tokens[:, :, 0].mean(axis=1, keepdims=True)
    dataset = make_dataset(labels, ["hand"] * n, [f"group{i // 2}" for i in range(n)])
    return tokens.astype(np.float32), dataset


def test_it_finds_the_token_that_a_mean_cannot_see():
    tokens, dataset = _needle()
    train, test = split_by_group(dataset)
    labels = dataset.labels[test]
    found = predict_held_out_attentive(tokens, dataset, train, test, epochs=15, seed=0)
    assert roc_auc_score(labels, found) > 0.95
    blind = predict_held_out(tokens.mean(axis=1), dataset, train, test)
    assert roc_auc_score(labels, blind) < 0.7


def test_same_seed_gives_the_same_probe():
    tokens, dataset = _needle(n=64)
    one, same = (
        fit_attentive(tokens, dataset.labels, rate=1e-3, epochs=2, seed=3).state_dict() for _ in range(2)
    )
    for name, value in one.items():
        assert torch.equal(value, same[name]), name
