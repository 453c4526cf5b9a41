"""What grouped cross-validation chooses and says of the fracture probe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from monai_bone_ssl.stats.calibration import Calibration, fit_calibration
from monai_bone_ssl.training.data import PROTOCOL_SEEDS, LabelledDataset, splits
from monai_bone_ssl.training.probes.linear import STRENGTHS, best_strength
from monai_bone_ssl.training.probes.logistic import out_of_fold_logits
from monai_bone_ssl.training.probes.probabilities import calibrated

__all__ = ["CrossValidation", "cross_validate"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Choices, and out-of-fold logits under every seed of the protocol."""

    strength: float
    """Inverse L2 strength."""
    logits: FloatArray
    """[seeds, n]."""
    calibration: Calibration
    """Fitted on the logits under all seeds."""

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """[seeds, n], calibrated."""
        return calibrated(self.logits, self.calibration)


def cross_validate(features: FloatArray, dataset: LabelledDataset) -> CrossValidation:
    """Choose the strength on the first seed's folds, and take its out-of-fold logits under every seed."""
    labels = dataset.labels
    progress = tqdm(PROTOCOL_SEEDS, desc="cross-validation", unit="seed")
    every_strength = [
        out_of_fold_logits(features, labels, list(splits(dataset, seed=seed)), STRENGTHS) for seed in progress
    ]
    strength, _ = best_strength(every_strength[0], labels)
    logits = np.stack([of_seed[STRENGTHS.index(strength)] for of_seed in every_strength])
    calibration = fit_calibration(logits.ravel(), np.tile(labels, len(PROTOCOL_SEEDS)))
    return CrossValidation(strength, logits, calibration)
