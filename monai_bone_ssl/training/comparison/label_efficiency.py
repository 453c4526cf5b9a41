"""How few labels are enough: the same row, learnt from growing shares of the training studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.stats.bootstrap import weighted_auroc
from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.outcome import EfficiencyPoint
from monai_bone_ssl.training.comparison.predictions import PredictionStore
from monai_bone_ssl.training.comparison.protocol import THRESHOLD, EvaluationProtocol, ProtocolFold
from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.probes.nested import INNER_FOLDS

__all__ = ["SHARES", "LabelShare", "efficiency_points", "label_efficiency", "training_subset"]

IntArray = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

#: Shares of the training studies that are learnt from.
SHARES = (0.01, 0.1, 0.25, 1.0)


@dataclass(frozen=True, eq=False)
class LabelShare:
    """What was predicted after learning from one share of the training studies, drawn under one seed."""

    share: float
    """Share that was asked for, above 0 to 1; the counts tell what was taken."""
    seed: int
    """Seed of the draw."""
    n_studies: int
    """Studies that were learnt from, or groups where studies are unknown."""
    n_images: int
    """Images that were learnt from."""
    probabilities: Probabilities
    """Probabilities of the test images, float64 [len(test)]."""


def efficiency_points(
    method: Method, store: PredictionStore, protocol: EvaluationProtocol
) -> list[EfficiencyPoint]:
    """Figures after learning from 1, 10, 25 and 100 % of the training studies, each drawn under three seeds.

    Parameters
    ----------
    method
        Row to measure.
    store
        Keeps the predictions, so that a stopped run resumes; the full share is what the table is made of.
    protocol
        Gives the folds: those of the first seed.
    """
    folds = protocol.folds_of(protocol.seeds[0])
    return [point for fold in folds for point in _points_of_fold(method, store, fold)]


def _points_of_fold(method: Method, store: PredictionStore, fold: ProtocolFold) -> Iterator[EfficiencyPoint]:
    def predict(train: IntArray, test: IntArray) -> Probabilities:
        return store.predict(method, ProtocolFold(fold.seed, fold.number, train, test))

    labels = store.dataset.labels[fold.test]
    for learnt in label_efficiency(store.dataset, fold.train, fold.test, predict):
        auroc = float(weighted_auroc(np.ones((1, len(labels))), labels, learnt.probabilities)[0])
        yield EfficiencyPoint(
            row=method.name,
            share=learnt.share,
            seed=learnt.seed,
            fold=fold.number,
            n_studies=learnt.n_studies,
            n_images=learnt.n_images,
            accuracy=float(np.mean((learnt.probabilities >= THRESHOLD) == (labels == 1))),
            auroc=None if np.isnan(auroc) else auroc,
        )


def label_efficiency(
    dataset: LabelledDataset,
    train: IntArray,
    test: IntArray,
    predict: Callable[[IntArray, IntArray], Probabilities],
    *,
    shares: Sequence[float] = SHARES,
    seeds: Sequence[int] = (0, 1, 2),
) -> tuple[LabelShare, ...]:
    """Fit on subsets of the training images and predict all test images with each.

    Parameters
    ----------
    dataset
        Labelled images.
    train, test
        Indices of the images to learn from and of those to predict.
    predict
        Function from indices of training images and of test images to probabilities of the latter.
    shares, seeds
        Shares of the training studies, and seeds that each share is drawn under, see
        :func:`training_subset`.

    Returns
    -------
    One entry for each share and seed, share by share.
    """
    units = _units(dataset)[train]
    known: dict[bytes, Probabilities] = {}  # the full share is the same under every seed
    results = []
    runs = [(share, seed) for share in shares for seed in seeds]
    for share, seed in tqdm(runs, desc="label efficiency", unit="fit"):
        subset = training_subset(dataset, train, share, seed)
        key = subset.tobytes()
        if key not in known:
            known[key] = predict(subset, test)
        n_studies = len(np.unique(units[np.isin(train, subset)]))
        results.append(LabelShare(share, seed, n_studies, len(subset), known[key]))
    return tuple(results)


def training_subset(dataset: LabelledDataset, train: IntArray, share: float, seed: int) -> IntArray:
    """Training images of a share of their studies, in the order of ``train``; whole groups if no studies.

    Under one seed a smaller share is part of every larger one. Parts and classes keep their shares as far as
    the numbers allow. Where a share holds too few groups of a class for the inner folds, as many more
    studies are taken as they need.

    Parameters
    ----------
    dataset
        Labelled images.
    train
        Indices of the images to draw from.
    share
        Share of the studies, above 0 to 1.
    seed
        Seed of the draw.

    Returns
    -------
    Indices of the images, a part of ``train``.

    Raises
    ------
    ConfigError
        If the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        text = f"share of the training studies is {share:g}, expected above 0 and at most 1"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    units, rank = np.unique(_units(dataset)[train], return_inverse=True)
    position = np.empty(len(units), dtype=np.int64)
    position[_order(dataset, train, rank, seed)] = np.arange(len(units))
    image_position = position[rank]  # [len(train)]
    n_taken = max(int(np.ceil(share * len(units))), _enough(dataset, train, image_position))
    return train[image_position < n_taken]


def _units(dataset: LabelledDataset) -> npt.NDArray[np.str_]:
    """Study of each image [n]; the group of each image where a study is unknown."""
    studies = [image.study for image in dataset.images]
    if any(study is None for study in studies):
        return dataset.groups
    return np.array([f"{image.group}/{image.study}" for image in dataset.images], dtype=np.str_)


def _order(dataset: LabelledDataset, train: IntArray, rank: IntArray, seed: int) -> IntArray:
    """Units in an order whose every beginning has the strata (part and class) in proportion."""
    generator = np.random.default_rng(seed)
    _, first = np.unique(rank, return_index=True)
    positive = np.bincount(rank, weights=dataset.labels[train]) > 0
    strata = np.array(
        [f"{part} {label}" for part, label in zip(dataset.parts[train][first], positive, strict=True)]
    )
    place = np.empty(len(strata))
    for stratum in np.unique(strata):
        members = generator.permutation(np.flatnonzero(strata == stratum))
        place[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(place, kind="stable")


def _enough(dataset: LabelledDataset, train: IntArray, image_position: IntArray) -> int:
    """How many units from the first on hold as many groups of each class as there are inner folds."""
    labels = dataset.labels[train]
    names, group = np.unique(dataset.groups[train], return_inverse=True)
    needed = 1
    for label in (0, 1):
        of_class = labels == label
        first_seen = np.full(len(names), len(train))
        np.minimum.at(first_seen, group[of_class], image_position[of_class])
        needed = max(needed, int(np.sort(first_seen)[:INNER_FOLDS].max()) + 1)
    return needed
