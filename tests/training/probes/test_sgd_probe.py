"""DINOv2's sweep of learning rates: against torch's optimiser, rate by rate, and against known answers."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from monai_bone_ssl.training.probes.sgd_probe import LEARNING_RATES, fit_sgd, predict_held_out_sgd
from training.labelled import grouped_problem, make_dataset, split_by_group

EPOCHS = 3


def _reference(features, labels, rate, start, orders):
    """One rate with torch's SGD and cosine schedule on given batches, from given initial weights."""
    inputs = (features - features.mean(0)) / features.std(0, correction=0)
    layer = torch.nn.Linear(features.shape[1], 1)
    with torch.no_grad():
        layer.weight.copy_(start)
        layer.bias.zero_()
    batch = len(orders[0])
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate * batch / 256, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(orders))
    for rows in orders:
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            layer(inputs[rows])[:, 0], labels[rows].float()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return layer(inputs)[:, 0].detach().numpy()


def test_each_rate_equals_its_own_run_of_torchs_sgd():
    features, dataset = grouped_problem()
    features = features * 3 + 5
    features, labels = features[:200], dataset.labels[:200]
    probe = fit_sgd(features, labels, (1e-3, 0.1, 1.0), epochs=EPOCHS, seed=4)

    generator = torch.Generator().manual_seed(4)
    start = torch.randn(3, features.shape[1], generator=generator) * 0.01
    # One whole batch of 128 an epoch.
    orders = [torch.randperm(200, generator=generator)[:128] for _ in range(EPOCHS)]
    for column, rate in enumerate((1e-3, 0.1, 1.0)):
        expected = _reference(
            torch.from_numpy(features), torch.from_numpy(labels), rate, start[column : column + 1], orders
        )
        np.testing.assert_allclose(probe.logits(features)[:, column], expected, atol=1e-4)


def test_same_seed_gives_the_same_probe_and_another_seed_another():
    features, dataset = grouped_problem()
    one, same, other = (
        fit_sgd(features, dataset.labels, LEARNING_RATES, epochs=1, seed=seed).weight for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


def test_held_out_probabilities_are_near_the_truth():
    features, dataset = grouped_problem(n_groups=300)
    train, test = split_by_group(dataset)
    probabilities = predict_held_out_sgd(features, dataset, train, test, epochs=20, seed=0)
    assert np.abs(probabilities - expit(2 * features[test, 0])).mean() < 0.08
    truth = roc_auc_score(dataset.labels[test], features[test, 0])
    assert roc_auc_score(dataset.labels[test], probabilities) > truth - 0.03


def test_test_images_and_labels_change_nothing_in_the_fit():
    features, dataset = grouped_problem()
    train, test = split_by_group(dataset)
    labels, poisoned = dataset.labels, features.copy()
    labels[test] = 1 - labels[test]
    poisoned[test[1:]] = 1e6
    flipped = make_dataset(labels, dataset.parts, dataset.groups)
    before = predict_held_out_sgd(features, dataset, train, test[:1], epochs=2, seed=0)
    after = predict_held_out_sgd(poisoned, flipped, train, test, epochs=2, seed=0)
    np.testing.assert_allclose(after[:1], before, rtol=1e-5)
