"""What grouped cross-validation chooses and says of the fracture probe."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from tqdm import tqdm

from monai_bone_ssl.model_spec import Calibration
from monai_bone_ssl.training.calibration import fit_calibration
from monai_bone_ssl.training.data import PROTOCOL_SEEDS, LabelledDataset, splits
from monai_bone_ssl.training.probe import choose_strength, fit_probe, out_of_fold

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

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """[seeds, n], calibrated."""
        z = self.calibration.slope * self.logits.astype(np.float64) + self.calibration.intercept
        return np.asarray(expit(z))


def cross_validate(features: FloatArray, dataset: LabelledDataset) -> CrossValidation:
    """Choose the strength on the first seed's folds, then take out-of-fold logits under every seed."""
    labels = dataset.labels
    folds = {seed: list(splits(dataset, seed=seed)) for seed in PROTOCOL_SEEDS}
    strength, _ = choose_strength(features, labels, folds[PROTOCOL_SEEDS[0]])
    fit_binary = partial(fit_probe, strength=strength)
    progress = tqdm(PROTOCOL_SEEDS, desc="cross-validation", unit="seed")
    logits = np.stack([out_of_fold(features, labels, folds[seed], fit_binary)[:, 0] for seed in progress])
    calibration = fit_calibration(logits.ravel(), np.tile(labels, len(PROTOCOL_SEEDS)))
    return CrossValidation(strength, logits, calibration)
