"""The images on a comparison's page: the most confident errors of a row, and labels to look at again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.training.comparison.audit import AUDIT_NEIGHBOURS
from monai_bone_ssl.training.comparison.measure import Runs
from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.outcome import Comparison
from monai_bone_ssl.training.comparison.predictions import PredictionStore
from monai_bone_ssl.training.comparison.protocol import THRESHOLD, Protocol
from monai_bone_ssl.training.comparison.thumbnail import Thumbnail, make_thumbnail
from monai_bone_ssl.training.data import LabelledDataset

__all__ = ["Card", "Gallery", "error_gallery", "suspect_gallery"]

FloatArray = NDArray[np.float32]

# False positives, and false negatives, that are shown of each row.
_SHOWN = 6


@dataclass(frozen=True)
class Card:
    """One image of a gallery."""

    name: str
    """Path as the data list it."""
    facts: str
    """Part, label and probability in words."""
    picture: Thumbnail | None
    """None on a page without images, and for a blank image."""


@dataclass(frozen=True)
class Gallery:
    """Some images of one kind."""

    title: str
    note: str
    """What the images have in common, for the reader."""
    cards: tuple[Card, ...]


def error_gallery(
    method: Method, runs: Runs, store: PredictionStore, protocol: Protocol, embed_images: bool
) -> Gallery:
    """The most confident errors of a row, by its mean probability over the seeds.

    Parameters
    ----------
    method, runs
        The row, and its predictions by seed.
    store
        Keeps evidence beside the predictions.
    protocol
        Which model did not see an image.
    embed_images
        Whether the images are shown, or only named.
    """
    dataset = store.dataset
    mean = np.mean([sample.probabilities for sample in runs.values()], axis=0)
    evaluated = dataset.take(protocol.evaluated)
    alarms, misses = _worst_errors(evaluated.labels, mean)
    chosen = [int(protocol.evaluated[i]) for i in (*alarms, *misses)]
    evidence = _evidence(method, store, protocol, chosen) if embed_images else {}
    # Full colour, one for all pictures of a row: the largest evidence that any of them has.
    limit = max([float(values.max()) for values in evidence.values()] + [1e-6])
    cards = []
    for i, probability in zip(chosen, mean[[*alarms, *misses]], strict=True):
        image = dataset.images[i]
        kind = "labelled positive" if image.label else "labelled negative"
        picture = make_thumbnail(image.path, evidence.get(i), limit) if embed_images else None
        cards.append(Card(image.name, f"{image.part}, {kind}, probability {probability:.2f}", picture))
    note = f"{len(alarms)} false positives, then {len(misses)} false negatives."
    if evidence:
        note += f" Colour: evidence for the target; full colour is {limit:.2g} logit per patch, in this row."
    return Gallery(method.name, note, tuple(cards))


def _evidence(
    method: Method, store: PredictionStore, protocol: Protocol, images: Sequence[int]
) -> dict[int, FloatArray]:
    """Evidence by a model that did not see the image: that of its fold under the first seed."""
    evidence: dict[int, FloatArray] = {}
    for fold in protocol.folds_of(protocol.seeds[0]):
        tested = np.intersect1d(images, fold.test)
        if len(tested):
            evidence |= store.evidence(method, fold, tested)
    return evidence


def suspect_gallery(comparison: Comparison, dataset: LabelledDataset, embed_images: bool) -> Gallery:
    """The images whose neighbours speak most against their label; shown, or only named."""
    by_name = {image.name: image for image in dataset.images}
    cards = [
        Card(
            suspect.path,
            f"{suspect.part}, labelled {'positive' if suspect.label else 'negative'}, "
            f"neighbours for it {100 * suspect.probability_of_label:.0f} %",
            make_thumbnail(by_name[suspect.path].path) if embed_images else None,
        )
        for suspect in comparison.suspect_labels
    ]
    note = (
        f"Images whose {AUDIT_NEIGHBOURS} nearest neighbours in other folds speak most against their label. "
        "The label may be right and the image unusual: a reader decides. All images are in label_audit.csv."
    )
    return Gallery("Label audit", note, tuple(cards))


def _worst_errors(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[list[int], list[int]]:
    """Indices of the most confident false positives and false negatives, of labels and probabilities [n]."""
    called = probabilities >= THRESHOLD
    order = np.argsort(-np.abs(probabilities - labels), kind="stable")
    alarms = [int(i) for i in order if called[i] and not labels[i]]
    misses = [int(i) for i in order if labels[i] and not called[i]]
    return alarms[:_SHOWN], misses[:_SHOWN]
