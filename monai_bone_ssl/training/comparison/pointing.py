"""Where a row of a comparison points, on images whose findings are outlined, under the first seed's folds."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from monai_bone_ssl.findings import Peak, Region
from monai_bone_ssl.model.answer import peak_box
from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.predictions import PredictionStore
from monai_bone_ssl.training.comparison.protocol import EvaluationProtocol
from monai_bone_ssl.training.data import read_grey
from monai_bone_ssl.training.measure.localisation import Localisation, localise

__all__ = ["localise_row"]


def localise_row(method: Method, store: PredictionStore, protocol: EvaluationProtocol) -> Localisation | None:
    """Pointing game of a row's contributions, and its regions against the outlines.

    Each image is explained by the model of its fold under the first seed, which did not learn from it.

    Parameters
    ----------
    method
        Row of the table.
    store
        Keeps contributions and regions beside the predictions.
    protocol
        Which images are learnt from and which are predicted.

    Returns
    -------
    Outcome; None where nothing is outlined, or the row has no contributions.
    """
    dataset = store.dataset
    outlined = np.array([bool(image.label and image.boxes) for image in dataset.images])
    peaks: dict[int, Peak] = {}
    regions: dict[int, tuple[Region, ...]] = {}
    folds = protocol.folds_of(protocol.seeds[0]) if outlined[protocol.evaluated].any() else ()
    for fold in tqdm(folds, desc=f"{method.name}, pointing", unit="fold"):
        explained = fold.test[outlined[fold.test]]
        explanations = store.contributions(method, fold, explained) if len(explained) else {}
        for i, contributions in explanations.items():
            peaks[i] = peak_box(contributions, read_grey(dataset.images[i].path).shape).centre
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
