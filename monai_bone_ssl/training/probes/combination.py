"""The answer for an image from two probes: of its pooled tokens, and of its patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.stats.calibration import Calibration
from monai_bone_ssl.training.data import LabelledDataset, TrainTest
from monai_bone_ssl.training.networks.patch_tokens import PatchTokens
from monai_bone_ssl.training.probes.cross_validation import (
    CrossValidation,
    OutOfFold,
    best_choice,
    fit_reference_calibration,
    out_of_fold,
)
from monai_bone_ssl.training.probes.logistic import LinearProbe
from monai_bone_ssl.training.probes.patch import out_of_fold_scores, outlined_share, top_means

__all__ = ["PATCH_SHARES", "Combination", "PatchValidation", "combine_probes", "cross_validate_patches"]

FloatArray = npt.NDArray[np.float32]

#: Weights of the patch probe's answer that are tried beside 1 for the pooled probe's, both in units of their
#: standard deviation.
PATCH_SHARES = (0.0, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True, eq=False)
class PatchValidation:
    """What patch probes say of n images that they did not learn from."""

    answers: OutOfFold
    """Mean of the highest patch scores of each image."""
    seed: list[FloatArray]
    """Patch scores [h, w] of each image from the first seed's folds."""
    ranges: list[FloatArray] | None
    """Patch scores [h, w] of each image with its acquisition range left out; None where there are none."""
    outlined: list[FloatArray | None]
    """Share of each patch inside outlines [h, w]; None for an image without outlines."""

    @property
    def reference(self) -> list[FloatArray]:
        """Patch scores [h, w] of each image to fix regions on, see :attr:`OutOfFold.reference`."""
        return self.seed if self.ranges is None else self.ranges


def cross_validate_patches(tokens: PatchTokens, dataset: LabelledDataset) -> PatchValidation:
    """Fit a patch probe to the training images of every fold of the protocol.

    Parameters
    ----------
    tokens
        Projected patch tokens of n images.
    dataset
        n labelled images.
    """
    outlined = [outlined_share(image, tokens[i].shape[:2]) for i, image in enumerate(dataset.images)]
    scores: list[list[FloatArray]] = []

    def answers(folds: Sequence[TrainTest]) -> FloatArray:
        scores.append(out_of_fold_scores(tokens, dataset, folds, outlined))
        return top_means(scores[-1])

    of_images = out_of_fold(dataset, answers)
    return PatchValidation(of_images, scores[0], None if of_images.ranges is None else scores[-1], outlined)


@dataclass(frozen=True, eq=False)
class Combination:
    """The sum of two probes' answers for n images, out of fold."""

    patch_weight: float
    """Weight of the patch probe's answer in the logit; the pooled probe's is 1."""
    logits: OutOfFold
    """Out-of-fold logits of n images."""
    calibration: Calibration
    """Platt scaling fitted on the reference logits."""

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Calibrated probabilities [k, n] of the reference logits."""
        return self.calibration.probabilities(self.logits.reference)

    def probe(self, pooled: LinearProbe) -> LinearProbe:
        """The linear probe of the pooled features [D] and, behind them, the mean of the highest scores."""
        weight = np.append(pooled.weight, np.full((1, 1), self.patch_weight, dtype=np.float32), axis=1)
        return LinearProbe(weight, pooled.bias)


def combine_probes(pooled: CrossValidation, patches: OutOfFold, dataset: LabelledDataset) -> Combination:
    """Choose the share of the patch probe that ranks best on the reference logits, and add the answers.

    Parameters
    ----------
    pooled
        Cross-validated probe of pooled features.
    patches
        Out-of-fold answers of the patch probe.
    dataset
        n labelled images.
    """
    of_pooled, of_patches = pooled.logits.reference[0], patches.reference[0]
    unit = float(of_pooled.std() / max(of_patches.std(), 1e-6))
    weights = [share * unit for share in PATCH_SHARES]
    chosen = best_choice(np.stack([of_pooled + weight * of_patches for weight in weights]), dataset)
    logits = pooled.logits.plus(patches, weights[chosen])
    return Combination(weights[chosen], logits, fit_reference_calibration(logits, dataset.labels))
