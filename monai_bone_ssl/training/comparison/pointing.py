"""Where a row of a comparison points, on images whose findings are outlined, under the first seed's folds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_bone_ssl.findings import Peak, Region
from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.predictions import PredictionStore
from monai_bone_ssl.training.comparison.protocol import EvaluationProtocol
from monai_bone_ssl.training.data import read_grey
from monai_bone_ssl.training.measure.localisation import Localisation, localise

__all__ = ["localise_row"]


def localise_row(method: Method, store: PredictionStore, protocol: EvaluationProtocol) -> Localisation | None:
    """Pointing game of a row's evidence, and its regions against the outlines.

    Each image is explained by the model of its fold under the first seed, which did not learn from it.

    Parameters
    ----------
    method
        Row of the table.
    store
        Keeps evidence and regions beside the predictions.
    protocol
        Which images are learnt from and which are predicted.

    Returns
    -------
    Outcome; None where nothing is outlined, or the row has no evidence.
    """
    dataset = store.dataset
    outlined = np.array([bool(image.label and image.boxes) for image in dataset.images])
    peaks: dict[int, Peak] = {}
    regions: dict[int, tuple[Region, ...]] = {}
    folds = protocol.folds_of(protocol.seeds[0]) if outlined[protocol.evaluated].any() else ()
    for fold in tqdm(folds, desc=f"{method.name}, pointing", unit="fold"):
        explained = fold.test[outlined[fold.test]]
        evidence = store.evidence(method, fold, explained) if len(explained) else {}
        for i, contributions in evidence.items():
            peaks[i] = _peak(contributions, read_grey(dataset.images[i].path).shape)
        drawn = store.regions(method, fold, fold.test) or {}
        regions |= {i: tuple(of_image) for i, of_image in drawn.items()}
    if not peaks:
        return None
    evaluated = protocol.evaluated.tolist()
    return localise(
        [dataset.images[i] for i in evaluated],
        [peaks.get(i) for i in evaluated],
        [regions[i] for i in evaluated] if regions else None,
    )


def _peak(contributions: NDArray[np.float32], shape: tuple[int, ...]) -> Peak:
    """Source pixel in the middle of the highest of patches [h, w] that cover an image of (rows, columns)."""
    place = np.unravel_index(int(contributions.argmax()), contributions.shape)
    row, column = ((i + 0.5) * size / n for i, size, n in zip(place, shape, contributions.shape, strict=True))
    return Peak(int(row), int(column))
