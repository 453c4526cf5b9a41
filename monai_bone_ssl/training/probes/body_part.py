"""The probe that names the body part: softmax regression over classes of which some may have no image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from monai_bone_ssl.model.spec import Figure
from monai_bone_ssl.training.data import PROTOCOL_SEEDS, LabelledDataset, splits
from monai_bone_ssl.training.probes.cross_validation import share_figure
from monai_bone_ssl.training.probes.logistic import LinearProbe, fit_logistic

__all__ = ["body_part_accuracy", "fit_body_part_probe", "fit_class_probe"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

# Inverse L2 strength, chosen by cross-validation on FracAtlas; the comparisons are in MODEL_CARD.md.
_STRENGTH = 1e-3

# Logit of a class that no training image has: its probability is 0, and everything stays finite.
_NEVER = -1e4


def fit_body_part_probe(features: FloatArray, dataset: LabelledDataset) -> LinearProbe:
    """The probe with one logit for each of the data set's known parts, in their order.

    Parameters
    ----------
    features
        Features of the images [n, D].
    dataset
        n labelled images; those that show several parts are left out.
    """
    known, numbers = _images_of_known_parts(dataset)
    return fit_class_probe(features[known], numbers, len(dataset.known_parts), _STRENGTH)


def body_part_accuracy(features: FloatArray, dataset: LabelledDataset) -> Figure:
    """Share of images [n] whose body part is named by the probe of the folds that their group is not in."""
    known, numbers = _images_of_known_parts(dataset)
    named_right = np.empty(len(known), dtype=np.bool_)
    for train, test in splits(dataset, seed=PROTOCOL_SEEDS[0]):
        learnt, unseen = np.isin(known, train), np.isin(known, test)
        probe = fit_class_probe(features[known[learnt]], numbers[learnt], len(dataset.known_parts), _STRENGTH)
        named_right[unseen] = probe.logits(features[known[unseen]]).argmax(axis=1) == numbers[unseen]
    return share_figure(named_right, dataset.groups[known])


def _images_of_known_parts(dataset: LabelledDataset) -> tuple[IntArray, IntArray]:
    """Indices of the images that show one known part, and the number of each one's part."""
    names = list(dataset.known_parts)
    known = np.flatnonzero(np.isin(dataset.parts, names))
    return known, np.array([names.index(part) for part in dataset.parts[known]])


def fit_class_probe(features: FloatArray, labels: IntArray, classes: int, strength: float) -> LinearProbe:
    """L2-regularised softmax regression on standardised features.

    Parameters
    ----------
    features
        Features of the images [n, D].
    labels
        Classes [n], from 0.
    classes
        Number of classes; one without an image gets probability 0.
    strength
        Inverse L2 strength (scikit-learn's C).

    Returns
    -------
    Probe with one logit a class; their softmax gives probabilities.
    """
    present = np.unique(labels)
    weight = np.zeros((classes, features.shape[1]), dtype=np.float32)
    bias = np.full(classes, _NEVER, dtype=np.float32)
    bias[present] = 0
    if len(present) == 2:
        (binary,) = fit_logistic(features, (labels == present[1]).astype(np.int64), (strength,))
        weight[present[1]], bias[present[1]] = binary.weight[0], binary.bias[0]
    elif len(present) > 2:
        fitted = _fit_softmax(features, labels, strength)
        weight[present], bias[present] = fitted.weight, fitted.bias
    return LinearProbe(weight, bias)


def _fit_softmax(features: FloatArray, labels: IntArray, strength: float) -> LinearProbe:
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
    model.fit(scaler.transform(features), labels)
    weight = model.coef_ / scaler.scale_
    bias = model.intercept_ - weight @ scaler.mean_
    return LinearProbe(weight.astype(np.float32), bias.astype(np.float32))
