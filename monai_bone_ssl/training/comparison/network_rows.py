"""Rows of networks: frozen features with several ways to classify them, and a network trained as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from monai_bone_ssl.model.preprocessing import PreprocessSpec
from monai_bone_ssl.training.data import LabelledDataset, read_input
from monai_bone_ssl.training.finetune import finetune_and_predict
from monai_bone_ssl.training.networks.extractors import FeatureExtractor, TokenFeatures
from monai_bone_ssl.training.networks.features import cache_name, extract_features
from monai_bone_ssl.training.probes.knn import predict_held_out_knn
from monai_bone_ssl.training.probes.nested import fit_chosen_probe, predict_held_out, probe_scope

__all__ = ["FeatureShelf", "FineTunedRow", "LinearProbeRow", "NeighboursRow", "Network"]

FloatArray = NDArray[np.float32]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Network:
    """A pre-trained network with the input that it gets."""

    name: str
    """Name that the table shows."""
    extractor: FeatureExtractor
    """Turns images into features; frozen, in evaluation mode."""
    spec: PreprocessSpec
    """Preprocessing of the network's input."""

    @property
    def recipe(self) -> str:
        """Digest of everything but the image that a feature depends on."""
        return cache_name(self.extractor, self.spec)


class FeatureShelf:
    """Features of a dataset by one network at a time: the latest stay in memory.

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
    """What all ways to classify frozen features share."""

    network: Network
    """Network whose features are classified."""
    shelf: FeatureShelf
    """Source of the features, shared between rows."""

    kind = ""
    description = ""
    first_seed_only = False

    @property
    def name(self) -> str:
        """Name of the network, and what is made of its features."""
        return f"{self.network.name}, {self.kind}"

    @property
    def recipe(self) -> str:
        """Network, input and classifier."""
        return f"{self.network.recipe}, {self.kind}: {self.description}"

    def contributions(
        self, _dataset: LabelledDataset, _train: Ints, _images: Ints, /
    ) -> Mapping[int, FloatArray] | None:
        """None: this classifier has no contributions."""
        return None

    def regions(self, _dataset: LabelledDataset, _train: Ints, _images: Ints, /) -> None:
        """None: this classifier draws no regions."""


class LinearProbeRow(_FeatureRow):
    """Logistic regression by L-BFGS, strength and calibration chosen inside the training images."""

    kind = "linear probe"
    description = "Frozen features, logistic regression by L-BFGS, strength chosen inside the training images"

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, _seed: int, /) -> Floats:
        """See :meth:`~monai_bone_ssl.training.comparison.methods.Method.predict`."""
        return predict_held_out(self.shelf.features(self.network, dataset), dataset, train, test)

    def contributions(
        self, dataset: LabelledDataset, train: Ints, images: Ints, /
    ) -> Mapping[int, FloatArray] | None:
        """Logit before calibration as a sum over patches, for pooled patch tokens of a Vision Transformer."""
        extractor = self.network.extractor
        if not isinstance(extractor, TokenFeatures):
            return None
        features = self.shelf.features(self.network, dataset)
        contributions: dict[int, FloatArray] = {}
        for learnt, shown in _scopes(dataset, train, images):
            weight = torch.from_numpy(fit_chosen_probe(features, dataset, learnt)[0].weight[0])
            for i in shown:
                pixels = read_input(dataset.images[i].path, self.network.spec)
                contributions[int(i)] = _attribute(extractor, pixels, weight)
        return contributions


class NeighboursRow(_FeatureRow):
    """Weighted nearest neighbours, their number chosen inside the training images."""

    kind = "k-NN"
    description = (
        "Frozen features, 10 to 200 nearest neighbours (T = 0.07), number chosen inside the training images"
    )

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, _seed: int, /) -> Floats:
        """See :meth:`~monai_bone_ssl.training.comparison.methods.Method.predict`."""
        return predict_held_out_knn(self.shelf.features(self.network, dataset), dataset, train, test)


@dataclass(frozen=True, eq=False)
class FineTunedRow:
    """A network whose weights are all trained on the labels, as the literature's CNNs are.

    Training takes hours, so the row is run under the protocol's first seed only.
    """

    network: Network
    """Network that training starts from."""
    weights: str
    """Weights, as :func:`~monai_bone_ssl.training.finetune.finetune_and_predict` reads them."""
    epochs: int
    """Passes over the training images."""

    first_seed_only = True

    @property
    def name(self) -> str:
        """Name of the network, fine-tuned."""
        return f"{self.network.name}, fine-tuned"

    @property
    def description(self) -> str:
        """What the row is, in a sentence."""
        return (
            f"Supervised, all weights trained for {self.epochs} epochs on the labels, the best epoch chosen "
            "inside the training images"
        )

    @property
    def recipe(self) -> str:
        """Weights that training starts from, input and number of epochs."""
        return f"{self.network.recipe}, fine-tuned for {self.epochs} epochs"

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, seed: int, /) -> Floats:
        """See :meth:`~monai_bone_ssl.training.comparison.methods.Method.predict`."""
        return finetune_and_predict(
            self.weights, dataset, train, test, spec=self.network.spec, epochs=self.epochs, seed=seed
        )

    def contributions(self, dataset: LabelledDataset, train: Ints, images: Ints, /) -> None:
        """None: a fine-tuned network has no contributions."""

    def regions(self, dataset: LabelledDataset, train: Ints, images: Ints, /) -> None:
        """None: a fine-tuned network draws no regions."""


def _scopes(dataset: LabelledDataset, train: Ints, images: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Training images of each linear probe, and the images that belong to the probe's part."""
    if probe_scope(dataset, train) == "joint":
        yield train, images
        return
    for part in np.unique(dataset.parts[images]):
        yield train[dataset.parts[train] == part], images[dataset.parts[images] == part]


@torch.inference_mode()
def _attribute(extractor: TokenFeatures, pixels: FloatArray, weight: torch.Tensor) -> FloatArray:
    pooled = extractor.pooling(torch.from_numpy(pixels)[None, None])
    contributions: FloatArray = extractor.pooling.attribute(pooled.tokens, weight)[0].numpy()
    return contributions
