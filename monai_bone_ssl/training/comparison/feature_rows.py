"""Rows on frozen features: one network, several ways to classify what it gives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from monai_bone_ssl.model.preprocessing import PreprocessSpec, preprocess
from monai_bone_ssl.training.data import LabelledDataset, read_grey
from monai_bone_ssl.training.networks.extractors import FeatureExtractor, TokenFeatures
from monai_bone_ssl.training.networks.features import cache_name, extract_features
from monai_bone_ssl.training.probes.knn import predict_held_out_knn
from monai_bone_ssl.training.probes.nested import fit_chosen_probe, predict_held_out, probe_scope

__all__ = ["FeatureShelf", "LinearProbeRow", "NeighboursRow", "Network"]

FloatArray = NDArray[np.float32]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Network:
    """A frozen network with the input that it gets."""

    name: str
    """As the table shows it."""
    extractor: FeatureExtractor
    """Frozen, in evaluation mode."""
    spec: PreprocessSpec
    """Preprocessing of its input."""

    @property
    def recipe(self) -> str:
        """Digest of everything but the image that a feature depends on."""
        return cache_name(self.extractor, self.spec)


class FeatureShelf:
    """Features of a dataset by one network at a time: those of the latest stay in memory.

    Parameters
    ----------
    cache
        Folder for features, see :func:`~monai_bone_ssl.training.networks.features.extract_features`.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._latest: tuple[Network, LabelledDataset, FloatArray] | None = None

    def features(self, network: Network, dataset: LabelledDataset) -> FloatArray:
        """Features [N, D] of a dataset's N images."""
        if self._latest is None or self._latest[0] is not network or self._latest[1] is not dataset:
            self._latest = None  # makes room before the next ones come
            features = extract_features(network.extractor, network.spec, dataset.paths, self._cache)
            self._latest = (network, dataset, features)
        return self._latest[2]


@dataclass(frozen=True, eq=False)
class _FeatureRow:
    """What all rows of this module share, see :class:`~monai_bone_ssl.training.comparison.methods.Method`."""

    network: Network
    shelf: FeatureShelf

    kind = ""
    how = ""
    first_seed_only = False

    @property
    def name(self) -> str:
        """The network's, and what is made of its features."""
        return f"{self.network.name}, {self.kind}"

    @property
    def description(self) -> str:
        """In a sentence."""
        return self.how

    @property
    def recipe(self) -> str:
        """Digest of network, input and classifier."""
        return hashlib.sha256(msgspec.json.encode([self.network.recipe, self.kind, self.how])).hexdigest()

    def evidence(
        self, _dataset: LabelledDataset, _train: Ints, _images: Ints, /
    ) -> Mapping[int, FloatArray] | None:
        """None: this classifier does not say."""
        return None


class LinearProbeRow(_FeatureRow):
    """Logistic regression by L-BFGS, strength and calibration chosen inside the training images."""

    kind = "linear probe"
    how = "Frozen features, logistic regression by L-BFGS, strength chosen inside the training images"

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, _seed: int, /) -> Floats:
        """See :class:`~monai_bone_ssl.training.comparison.methods.Method`."""
        return predict_held_out(self.shelf.features(self.network, dataset), dataset, train, test)

    def evidence(
        self, dataset: LabelledDataset, train: Ints, images: Ints, /
    ) -> Mapping[int, FloatArray] | None:
        """Logit before calibration as a sum over patches, for pooled patch tokens of a Vision Transformer."""
        extractor = self.network.extractor
        if not isinstance(extractor, TokenFeatures):
            return None
        features = self.shelf.features(self.network, dataset)
        evidence: dict[int, FloatArray] = {}
        for learnt, shown in _scopes(dataset, train, images):
            weight = torch.from_numpy(fit_chosen_probe(features, dataset, learnt)[0].weight[0])
            for i in shown:
                pixels = preprocess(read_grey(dataset.images[i].path), self.network.spec)
                evidence[int(i)] = _attribute(extractor, pixels, weight)
        return evidence


class NeighboursRow(_FeatureRow):
    """Weighted nearest neighbours, their number chosen inside the training images."""

    kind = "k-NN"
    how = "Frozen features, 10 to 200 nearest neighbours (T = 0.07), number chosen inside the training images"

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, _seed: int, /) -> Floats:
        """See :class:`~monai_bone_ssl.training.comparison.methods.Method`."""
        return predict_held_out_knn(self.shelf.features(self.network, dataset), dataset, train, test)


def _scopes(dataset: LabelledDataset, train: Ints, images: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Training images of each probe, and the images that it is asked about."""
    if probe_scope(dataset, train) == "joint":
        yield train, images
        return
    for part in np.unique(dataset.parts[images]):
        yield train[dataset.parts[train] == part], images[dataset.parts[images] == part]


@torch.inference_mode()
def _attribute(extractor: TokenFeatures, pixels: FloatArray, weight: torch.Tensor) -> FloatArray:
    pooled = extractor.pooling(torch.from_numpy(pixels)[None, None])
    evidence: FloatArray = extractor.pooling.attribute(pooled.tokens, weight)[0].numpy()
    return evidence
