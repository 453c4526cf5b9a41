"""How few labels are enough: the same row, learnt from growing shares of the training studies."""

from __future__ import annotations

from itertools import product

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

__all__ = ["SHARES", "efficiency_points", "training_subset"]

Ints = npt.NDArray[np.int64]

#: Shares of the training studies that are learnt from.
SHARES = (0.01, 0.1, 0.25, 1.0)

# Each share is drawn under each of these.
_SEEDS = (0, 1, 2)


def efficiency_points(
    method: Method, store: PredictionStore, protocol: EvaluationProtocol
) -> list[EfficiencyPoint]:
    """Figures of a row after learning from each of :data:`SHARES`, drawn under three seeds.

    Parameters
    ----------
    method
        Row to measure.
    store
        Keeps the predictions, so that a stopped run resumes; those of the full share are there already, as
        the table is made of them.
    protocol
        Gives the folds: those of the first seed.
    """
    draws = list(product(protocol.folds_of(protocol.seeds[0]), SHARES, _SEEDS))
    return [_point(method, store, *draw) for draw in tqdm(draws, desc="label efficiency", unit="fit")]


def _point(
    method: Method, store: PredictionStore, fold: ProtocolFold, share: float, seed: int
) -> EfficiencyPoint:
    dataset, labels = store.dataset, store.dataset.labels[fold.test]
    train = training_subset(dataset, fold.train, share, seed)
    probabilities = store.predict(method, ProtocolFold(fold.seed, fold.number, train, fold.test))
    auroc = float(weighted_auroc(np.ones((1, len(labels))), labels, probabilities)[0])
    return EfficiencyPoint(
        row=method.name,
        share=share,
        seed=seed,
        fold=fold.number,
        n_studies=len(np.unique(_units(dataset)[train])),
        n_images=len(train),
        accuracy=float(np.mean((probabilities >= THRESHOLD) == (labels == 1))),
        auroc=None if np.isnan(auroc) else auroc,
    )


def training_subset(dataset: LabelledDataset, train: Ints, share: float, seed: int) -> Ints:
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


def _order(dataset: LabelledDataset, train: Ints, rank: Ints, seed: int) -> Ints:
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


def _enough(dataset: LabelledDataset, train: Ints, image_position: Ints) -> int:
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
