"""Body parts by nearest neighbours, held against scikit-learn's; and which images are asked about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from monai_bone_ssl.model.preprocessing import PreprocessSpec
from monai_bone_ssl.training.data.unlabelled import ImageSources, UnlabelledImage
from monai_bone_ssl.training.networks.backbone import create_backbone
from monai_bone_ssl.training.ssl.online_knn import BodyPartKNN, whole_image_features
from training.ssl.runs import ALONE, NAME

SPEC = PreprocessSpec(32, 16, 1.0, 99.0)


class Pictures:
    def __init__(self, images):
        self.usable = np.arange(images)

    def __getitem__(self, index):
        return np.random.default_rng(index).integers(0, 256, (64, 48), dtype=np.uint8)


def described(parts, groups):
    return [
        UnlabelledImage(path=None, part=part, group=group, study=None)
        for part, group in zip(parts, groups, strict=True)
    ]


def knn_of(parts, groups, sources=None):
    images = described(parts, groups)
    one_list = ImageSources(("one", "two"), tuple(images), tuple(sources or [0] * len(parts)))
    return BodyPartKNN(one_list, Pictures(len(parts)), SPEC, seed=0)


def test_score_is_the_balanced_accuracy_of_weighted_neighbours_in_other_groups():
    random = np.random.default_rng(0)
    parts = random.choice(["hand", "leg", "hip"], 150, p=[0.6, 0.3, 0.1])
    knn = knn_of(parts, [f"g{number // 3}" for number in range(150)])
    features = random.normal(size=(150, 6))
    features[:, 0] += 1.5 * (parts == "leg")
    predicted = np.empty(150, dtype=parts.dtype)
    for train, test in knn.folds:
        assert not {f"g{i // 3}" for i in train} & {f"g{i // 3}" for i in test}
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        for row in test:
            cosine = unit[train] @ unit[row]
            nearest = np.argsort(-cosine)[:20]
            votes = dict.fromkeys(knn.parts, 0.0)
            for neighbour in nearest:
                votes[parts[train[neighbour]]] += np.exp(cosine[neighbour] / 0.07)
            predicted[row] = max(votes, key=votes.get)
    expected = balanced_accuracy_score(parts, predicted)
    assert knn.score(torch.from_numpy(features).float()) == pytest.approx(expected, abs=1e-6)
    assert 0.3 < expected < 0.9


def test_images_without_a_part_or_of_several_or_of_a_rare_one_are_left_out():
    parts = ["hand"] * 20 + ["leg"] * 20 + [None] * 20 + ["mixed"] * 20 + ["hip"] * 9
    knn = knn_of(parts, [f"g{number}" for number in range(len(parts))])
    assert knn.parts == ["hand", "leg"]
    assert knn.chosen.tolist() == list(range(40))


def test_a_common_part_is_thinned():
    knn = knn_of(["hand"] * 600 + ["leg"] * 30, [f"g{number}" for number in range(630)])
    assert (knn.labels == 0).sum() == 250
    assert (knn.labels == 1).sum() == 30


def test_groups_of_two_sources_with_one_name_are_two():
    parts = ["hand", "leg"] * 20
    assert not knn_of(parts, ["same"] * 40).possible, "one group cannot be split"
    assert knn_of(parts, ["same"] * 40, sources=[0] * 20 + [1] * 20).possible


def test_one_part_is_nothing_to_tell():
    assert not knn_of(["knee"] * 40, [f"g{number}" for number in range(40)]).possible


def test_features_are_those_of_each_image_alone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = create_backbone(NAME).eval()
    random = np.random.default_rng(0)
    shapes = [(64, 48), (32, 64), (64, 48), (32, 32)]
    images = [random.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    features = whole_image_features(backbone, images, SPEC, torch.device("cpu"))
    for row, image in zip(features, images, strict=True):
        (alone,) = whole_image_features(backbone, [image], SPEC, torch.device("cpu"))
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        tokens = backbone(torch.from_numpy(images[3].astype(np.float32))[None, None] / 255)
    expected = torch.cat([part / part.norm() for part in (tokens[0, 0], tokens[0, 1:].mean(dim=0))])
    torch.testing.assert_close(features[3], expected, rtol=1e-4, atol=1e-5)


def test_shares_of_processes_make_the_whole():
    parts = ["hand", "leg"] * 15
    knn = knn_of(parts, [f"g{number}" for number in range(30)])
    backbone = create_backbone(NAME).train()
    features = []
    knn.score = lambda scored: float(features.append(scored) or 0)
    for rank, count in ((0, 1), (0, 2), (1, 2)):
        knn(backbone, replace(ALONE, rank=rank, count=count))
    whole_set, first_half, second_half = features
    torch.testing.assert_close(whole_set, first_half + second_half, rtol=1e-4, atol=1e-5)
    assert backbone.training, "left as it was"
