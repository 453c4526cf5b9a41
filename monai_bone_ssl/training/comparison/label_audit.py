"""Labels that the nearest neighbours contradict: what a reader should look at again.

The audit chooses nothing and no figure comes from it. A label may be right and its image unusual.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from monai_bone_ssl.files import csv_bytes
from monai_bone_ssl.training.comparison.outcome import SuspectLabel
from monai_bone_ssl.training.data import PROTOCOL_SEEDS, LabelledDataset, splits
from monai_bone_ssl.training.probes.knn import TEMPERATURE, knn_probabilities

__all__ = ["AUDIT_NEIGHBOURS", "audit_csv", "audit_labels"]

#: Nearest neighbours that vote on each label.
AUDIT_NEIGHBOURS = 20


def audit_labels(features: NDArray[np.float32], dataset: LabelledDataset) -> tuple[SuspectLabel, ...]:
    """Every image with the support that its label has among its neighbours, the least supported first.

    The neighbours are sought in the other four of five grouped folds: an image's own patient has no vote.

    Parameters
    ----------
    features
        Features by any frozen network, float32 [N, D].
    dataset
        Labelled images, N of them.
    """
    rows, labels = torch.from_numpy(features), torch.from_numpy(dataset.labels)
    support = np.empty(len(dataset))
    for train, test in splits(dataset, seed=PROTOCOL_SEEDS[0]):
        known, tested = torch.from_numpy(train), torch.from_numpy(test)
        shares = knn_probabilities(
            rows[known], labels[known], rows[tested], AUDIT_NEIGHBOURS, TEMPERATURE, classes=2
        )
        support[test] = shares.numpy()[np.arange(len(test)), dataset.labels[test]]
    return tuple(
        SuspectLabel(image.name, image.label, image.part, float(support[i]))
        for i, image in ((i, dataset.images[i]) for i in np.argsort(support, kind="stable"))
    )


def audit_csv(labels: Sequence[SuspectLabel]) -> bytes:
    """Table of ``path,label,part,probability_of_label``, one line an image, as UTF-8."""
    lines = ((s.path, s.label, s.part, f"{s.probability_of_label:.4f}") for s in labels)
    return csv_bytes(SuspectLabel.__struct_fields__, lines)
