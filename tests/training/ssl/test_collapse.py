"""The guard, held against entropies written out in numpy and against planted collapses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from monai_bone_ssl.errors import ReasonCode, TrainingError
from monai_bone_ssl.training.ssl.collapse import CollapseGuard, feature_entropy

PROTOTYPES = 32


def healthy(random, images=64):
    features = torch.randn(images, 8, generator=random)
    targets = torch.softmax(5 * torch.randn(images, PROTOTYPES, generator=random), dim=1)
    return features, targets


def collapsed(kind, random, images=64):
    features, targets = healthy(random, images)
    if kind == "uniform":
        targets = torch.full_like(targets, 1 / PROTOTYPES)
    elif kind == "one prototype":
        targets = torch.zeros_like(targets)
        targets[:, 3] = 1.0
    elif kind == "one feature":
        features = torch.ones(8) + 1e-4 * features
    else:  # all on a line
        features = torch.ones(8) + 0.02 * torch.randn(images, 1, generator=random) * torch.arange(8.0)
    return features, targets


def test_feature_entropy_of_known_spectra():
    assert float(feature_entropy(torch.eye(8))) == pytest.approx(math.log(8))
    direction = torch.arange(8.0)
    assert float(feature_entropy(torch.outer(direction, direction))) == pytest.approx(0, abs=1e-6)
    assert float(feature_entropy(torch.diag(torch.tensor([3.0, 1.0, 0.0])))) == pytest.approx(
        -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    )
    assert float(feature_entropy(torch.zeros(4, 4))) == 0


def test_measures_of_an_epoch_of_several_steps():
    random = torch.Generator().manual_seed(0)
    guard = CollapseGuard(patience=1)
    steps = [healthy(random) for _ in range(3)]
    for features, targets in steps:
        guard.update(features, targets)
    measures = guard.finish_epoch()

    features, targets = (torch.cat(parts).double().numpy() for parts in zip(*steps, strict=True))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    spectrum = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False) ** 2
    share = spectrum / spectrum.sum()
    each = -(targets * np.log(targets)).sum(axis=1).mean()
    mean = targets.mean(axis=0)
    assert measures["feature_variance"] == pytest.approx(spectrum.sum() / len(unit), rel=1e-4)
    assert measures["feature_entropy"] == pytest.approx(-(share * np.log(share)).sum(), rel=1e-4)
    assert measures["teacher_entropy"] == pytest.approx(each, rel=1e-4)
    assert measures["teacher_information"] == pytest.approx(-(mean * np.log(mean)).sum() - each, rel=1e-4)


@pytest.mark.parametrize("kind", ["uniform", "one prototype", "one feature", "line"])
def test_collapse_that_persists_stops_the_run(kind):
    random = torch.Generator().manual_seed(0)
    guard = CollapseGuard(patience=2)
    guard.update(*collapsed(kind, random))
    guard.finish_epoch()
    guard.update(*collapsed(kind, random))
    with pytest.raises(TrainingError, match=r"training collapsed: .* 2 epochs in a row") as raised:
        guard.finish_epoch()
    assert raised.value.code is ReasonCode.TRAINING_COLLAPSED
    assert ("the features" if kind in ("one feature", "line") else "the teacher") in raised.value.text


def test_a_healthy_epoch_starts_the_count_anew():
    random = torch.Generator().manual_seed(0)
    guard = CollapseGuard(patience=2)
    for kind in ("uniform", None, "uniform", None):
        guard.update(*(collapsed(kind, random) if kind else healthy(random)))
        guard.finish_epoch()


def test_one_healthy_step_among_many_does_not_hide_it():
    random = torch.Generator().manual_seed(0)
    guard = CollapseGuard(patience=1)
    guard.update(*healthy(random, images=2))
    for _ in range(20):
        guard.update(*collapsed("one prototype", random, images=200))
    with pytest.raises(TrainingError):
        guard.finish_epoch()


def test_count_survives_a_checkpoint():
    random = torch.Generator().manual_seed(0)
    guard, resumed = CollapseGuard(patience=2), CollapseGuard(patience=2)
    guard.update(*collapsed("uniform", random))
    guard.finish_epoch()
    resumed.load_state_dict(guard.state_dict())
    resumed.update(*collapsed("uniform", random))
    with pytest.raises(TrainingError):
        resumed.finish_epoch()


def test_method_without_a_teacher_is_not_judged():
    assert CollapseGuard(patience=1).finish_epoch() == {}
