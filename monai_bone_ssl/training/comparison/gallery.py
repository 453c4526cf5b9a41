"""The images on a comparison's page: the most confident errors of a row, and labels to look at again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_bone_ssl.errors import UnsupportedImage
from monai_bone_ssl.show.colours import colour_evidence
from monai_bone_ssl.show.overlay_file import Thumbnail, encode_thumbnail
from monai_bone_ssl.training.comparison.label_audit import AUDIT_NEIGHBOURS
from monai_bone_ssl.training.comparison.measure import Runs
from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.outcome import ModelComparison
from monai_bone_ssl.training.comparison.predictions import PredictionStore
from monai_bone_ssl.training.comparison.protocol import THRESHOLD, EvaluationProtocol
from monai_bone_ssl.training.data import LabelledDataset, read_input
from monai_bone_ssl.training.data.input_spec import input_spec
from monai_bone_ssl.wording import counted

__all__ = ["Gallery", "GalleryCard", "error_gallery", "suspect_gallery"]

FloatArray = NDArray[np.float32]

# Most false positives, and most false negatives, that are shown of each row.
_SHOWN = 6

# Long side in pixels: about 6 kB a picture.
_PICTURE = input_spec(200, 1)


@dataclass(frozen=True)
class GalleryCard:
    """One image of a gallery."""

    name: str
    """Path of the image, as the data list it."""
    facts: str
    """Part, label and probability in words."""
    picture: Thumbnail | None
    """The image; None on a page without images, and for a blank image."""


@dataclass(frozen=True)
class Gallery:
    """Some images of one kind."""

    title: str
    """Heading."""
    note: str
    """What the images have in common, for the reader."""
    cards: tuple[GalleryCard, ...]
    """The images."""


def error_gallery(
    method: Method, runs: Runs, store: PredictionStore, protocol: EvaluationProtocol, embed_images: bool
) -> Gallery:
    """The most confident errors of a row, by its mean probability over the seeds.

    Parameters
    ----------
    method
        Row whose errors are shown.
    runs
        Predictions of the row by seed.
    store
        Keeps contributions beside the predictions.
    protocol
        Says which model did not learn from an image.
    embed_images
        Whether the images are shown, or only named.
    """
    dataset = store.dataset
    mean = np.mean([sample.probabilities for sample in runs.values()], axis=0)
    evaluated = dataset.take(protocol.evaluated)
    alarms, misses = _worst_errors(evaluated.labels, mean)
    worst = [*alarms, *misses]
    chosen = protocol.evaluated[worst].tolist()
    contributions = _contributions(method, store, protocol, chosen) if embed_images else {}
    # Full colour, one for all pictures of a row: the largest contribution that any patch of them has.
    limit = max([float(values.max()) for values in contributions.values()] + [1e-6])
    cards = []
    for i, probability in zip(chosen, mean[worst], strict=True):
        image = dataset.images[i]
        facts = f"{image.part}, {_label(image.label)}, probability {probability:.2f}"
        picture = _picture(image.path, contributions.get(i), limit) if embed_images else None
        cards.append(GalleryCard(image.name, facts, picture))
    note = f"{counted(len(alarms), 'false positive')}, then {counted(len(misses), 'false negative')}."
    if contributions:
        note += f" Colour: contribution to the logit; full colour is {limit:.2g} per patch, in this row."
    return Gallery(method.name, note, tuple(cards))


def suspect_gallery(comparison: ModelComparison, dataset: LabelledDataset, embed_images: bool) -> Gallery:
    """The images whose neighbours speak most against their label; shown, or only named.

    Parameters
    ----------
    comparison
        Holds the suspect labels, worst first.
    dataset
        Images that the labels belong to.
    embed_images
        Whether the images are shown, or only named.
    """
    paths = {image.name: image.path for image in dataset.images}
    cards = [
        GalleryCard(
            suspect.path,
            f"{suspect.part}, {_label(suspect.label)}, "
            f"neighbours for it {100 * suspect.probability_of_label:.0f} %",
            _picture(paths[suspect.path]) if embed_images else None,
        )
        for suspect in comparison.suspect_labels
    ]
    note = (
        f"Images whose {AUDIT_NEIGHBOURS} nearest neighbours in other folds speak most against their label. "
        "The label may be right and the image unusual: a reader decides. All images are in label_audit.csv."
    )
    return Gallery("Label audit", note, tuple(cards))


def _contributions(
    method: Method, store: PredictionStore, protocol: EvaluationProtocol, images: Sequence[int]
) -> dict[int, FloatArray]:
    """Contributions by a model that did not learn from the image: that of its fold under the first seed."""
    contributions: dict[int, FloatArray] = {}
    for fold in protocol.folds_of(protocol.seeds[0]):
        tested = np.intersect1d(images, fold.test)
        if len(tested):
            contributions |= store.contributions(method, fold, tested)
    return contributions


def _worst_errors(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[list[int], list[int]]:
    """Indices of the most confident false positives and false negatives, of labels and probabilities [n]."""
    called = probabilities >= THRESHOLD
    order = np.argsort(-np.abs(probabilities - labels), kind="stable")
    alarms = [int(i) for i in order if called[i] and not labels[i]]
    misses = [int(i) for i in order if labels[i] and not called[i]]
    return alarms[:_SHOWN], misses[:_SHOWN]


def _label(label: int) -> str:
    return "labelled positive" if label else "labelled negative"


def _picture(path: Path, contributions: FloatArray | None = None, limit: float = 1.0) -> Thumbnail | None:
    """A radiograph at most 200 pixels wide and high, its contrast stretched; None where it is blank.

    Contributions of patches to the logit [h, w] are laid over it in colour where they speak for the target;
    ``limit`` gets the full colour.
    """
    try:
        shades = read_input(path, _PICTURE)
    except UnsupportedImage:
        return None
    if contributions is not None:
        size = (shades.shape[1], shades.shape[0])
        spread = Image.fromarray(contributions.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
        shades = colour_evidence(shades, np.asarray(spread, dtype=np.float32) / np.float32(limit))
    return encode_thumbnail(Image.fromarray(np.rint(shades * 255).astype(np.uint8)))
