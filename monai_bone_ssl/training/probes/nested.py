"""Predictions on held-out images; every choice is made by grouped cross-validation on the training images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.stats.calibration import MIN_CASES_TO_FIT, Calibration, fit_calibration
from monai_bone_ssl.training.data import LabelledDataset, TrainTest, splits
from monai_bone_ssl.training.probes.cross_validation import best_choice
from monai_bone_ssl.training.probes.logistic import LinearProbe, fit_logistic, out_of_fold_logits

__all__ = [
    "INNER_FOLDS",
    "WIDE_STRENGTHS",
    "fit_chosen_probe",
    "predict_held_out",
    "predict_with_choice",
    "probe_scope",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]
Scope = Literal["part", "joint"]

#: Folds inside the training images.
INNER_FOLDS = 5

#: Inverse L2 strengths tried where feature sets are compared: two a decade from 1e-6 to 10. Wide enough for
#: any width of features; the shipped model's own grid is narrower, see ``cross_validation``.
WIDE_STRENGTHS = tuple(float(strength) for strength in np.logspace(-6, 1, 15))

_INNER_SEED = 0


def probe_scope(dataset: LabelledDataset, train: IntArray) -> Scope:
    """Whether each part gets a probe of its own ("part") or all parts share one ("joint").

    Probes of their own need, in every part, MIN_CASES_TO_FIT (50) training images of either class, from at
    least as many groups as there are inner folds.
    """
    labels, parts, groups = dataset.labels[train], dataset.parts[train], dataset.groups[train]
    for part in np.unique(parts):
        for label in (0, 1):
            here = (parts == part) & (labels == label)
            if here.sum() < MIN_CASES_TO_FIT or len(np.unique(groups[here])) < INNER_FOLDS:
                return "joint"
    return "part"


def predict_held_out(
    features: FloatArray, dataset: LabelledDataset, train: IntArray, test: IntArray
) -> Probabilities:
    """Probabilities [len(test)] of linear probes fitted on ``train``, one for each part or one for all.

    The strength is the one of :data:`WIDE_STRENGTHS` that ranks best over the inner folds, see
    :func:`~monai_bone_ssl.training.probes.cross_validation.best_choice`, and the inner out-of-fold logits fix
    the calibration (Platt 1999).

    Parameters
    ----------
    features
        Features [N, D] of the data set's images.
    dataset
        N labelled images.
    train, test
        Indices of the images to learn from, and of those to predict; no group may be in both.

    Returns
    -------
    Calibrated probabilities [len(test)]. They do not depend on the other test images, but for rounding: a
    matrix product may round a row differently among other rows (differences below 1e-6).

    Raises
    ------
    ConfigError
        With code ``invalid_data`` where a group is in both, a class has fewer groups than there are inner
        folds, or a part of the test images has no probe.
    """

    def predict(own_train: IntArray, own_test: IntArray) -> Probabilities:
        probe, calibration = fit_chosen_probe(features, dataset, own_train)
        return calibration.probabilities(probe.logits(features[own_test])[:, 0])

    return _predict_by_scope(dataset, train, test, predict)


def fit_chosen_probe(
    features: FloatArray, dataset: LabelledDataset, train: IntArray
) -> tuple[LinearProbe, Calibration]:
    """The linear probe that :func:`predict_held_out` fits on images of one scope, and its calibration."""
    known, labels = features[train], dataset.labels[train]
    logits = out_of_fold_logits(known, labels, _inner_folds(dataset, train), WIDE_STRENGTHS)
    chosen, calibration = _choose(logits, dataset.take(train))
    return fit_logistic(known, labels, (WIDE_STRENGTHS[chosen],))[0], calibration


def predict_with_choice(
    dataset: LabelledDataset,
    train: IntArray,
    test: IntArray,
    candidates: Callable[[IntArray, IntArray], FloatArray],
) -> Probabilities:
    """Like :func:`predict_held_out`, for any classifier with a choice to make.

    Parameters
    ----------
    dataset, train, test
        See :func:`predict_held_out`.
    candidates
        Function of indices of training images and of test images that returns logits [S, len(test)], a row
        for each of S choices.
    """

    def predict(own_train: IntArray, own_test: IntArray) -> Probabilities:
        folds = _inner_folds(dataset, own_train)
        per_fold = [candidates(own_train[known], own_train[unseen]) for known, unseen in folds]
        logits = np.empty((len(per_fold[0]), len(own_train)), dtype=np.float32)
        for (_, unseen), of_fold in zip(folds, per_fold, strict=True):
            logits[:, unseen] = of_fold
        chosen, calibration = _choose(logits, dataset.take(own_train))
        return calibration.probabilities(candidates(own_train, own_test)[chosen])

    return _predict_by_scope(dataset, train, test, predict)


def _predict_by_scope(
    dataset: LabelledDataset,
    train: IntArray,
    test: IntArray,
    predict: Callable[[IntArray, IntArray], Probabilities],
) -> Probabilities:
    """Probabilities [len(test)] from ``predict(train, test)``, called for each part or once for all."""
    _refuse_leak(dataset, train, test)
    if probe_scope(dataset, train) == "joint":
        return predict(train, test)
    train_parts, test_parts = dataset.parts[train], dataset.parts[test]
    probabilities = np.empty(len(test))
    for part in np.unique(test_parts):
        if part not in train_parts:
            text = f"part {part} has test images but no training images"
            raise ConfigError(ReasonCode.INVALID_DATA, text)
        here = test_parts == part
        probabilities[here] = predict(train[train_parts == part], test[here])
    return probabilities


def _inner_folds(dataset: LabelledDataset, train: IntArray) -> list[TrainTest]:
    """Folds that keep groups whole, as positions in ``train``."""
    return list(splits(dataset.take(train), INNER_FOLDS, seed=_INNER_SEED))


def _refuse_leak(dataset: LabelledDataset, train: IntArray, test: IntArray) -> None:
    leaked = np.intersect1d(dataset.groups[train], dataset.groups[test])
    if len(leaked):
        text = f"{len(leaked)} group(s) in both training and test images, expected each group in one of them"
        raise ConfigError(ReasonCode.INVALID_DATA, text)


def _choose(logits: FloatArray, dataset: LabelledDataset) -> tuple[int, Calibration]:
    """Number of the choice whose out-of-fold logits [S, N] rank best, and the calibration of its logits."""
    chosen = best_choice(logits, dataset)
    return chosen, fit_calibration(logits[chosen], dataset.labels)
