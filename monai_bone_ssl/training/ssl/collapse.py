"""Watching that the network still tells images apart: a collapsed one has a low loss and is worthless."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from monai_bone_ssl.errors import ReasonCode, TrainingError
from monai_bone_ssl.training.compute.distributed import sum_over_processes
from monai_bone_ssl.training.ssl.losses import entropy

__all__ = ["CollapseGuard", "feature_entropy"]

# Nats that a teacher's output must say about which image it saw. DINO collapses in two ways, to one
# prototype or to all alike (arXiv:2104.14294, section 5.3); either way the output says nothing.
_LEAST_INFORMATION = 0.01
# Variance of the features' directions (1 where they point everywhere) and entropy of its spectrum in nats:
# below the first all images are one point, below the second they lie on one line.
_LEAST_FEATURE_VARIANCE = 1e-4
_LEAST_FEATURE_ENTROPY = 0.1


def feature_entropy(covariance: Tensor) -> Tensor:
    """Entropy in nats of a covariance's [C, C] normalised spectrum; its exponential is the effective rank.

    Roy and Vetterli 2007; as a measure of self-supervised features: RankMe (arXiv:2210.02885), here with
    the covariance's eigenvalues, so of the variances. 0 for a matrix of zeros.
    """
    variances = torch.linalg.eigvalsh(covariance.double()).clamp_min(0)
    return entropy(variances / variances.sum().clamp_min(1e-30))


class CollapseGuard:
    """Collects an epoch's outputs and stops a run after ``patience`` collapsed epochs in a row.

    Networks begin near collapse: with random weights all images look alike. All processes have to call the
    guard alike, as sums go over all of them.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.collapsed_epochs = 0
        self._sums: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, int]:
        """State for a resumed run."""
        return {"collapsed_epochs": self.collapsed_epochs}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Take up where :meth:`state_dict` left."""
        self.collapsed_epochs = state["collapsed_epochs"]

    @torch.no_grad()
    def update(self, features: Tensor, targets: Tensor | None = None) -> None:
        """Take in a step's outputs.

        Parameters
        ----------
        features
            Features [B, C], one row an image.
        targets
            The teacher's probabilities [B, K], for methods that have a teacher.
        """
        unit = normalize(features.float(), dim=1)
        self._add("images", unit.new_tensor(len(unit)))
        self._add("features", unit.sum(dim=0))
        self._add("products", unit.T @ unit)
        if targets is not None:
            self._add("targets", targets.float().sum(dim=0))
            self._add("entropies", entropy(targets.float()).sum())

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    @torch.no_grad()
    def finish_epoch(self) -> dict[str, float]:
        """The epoch's measures; starts a new one.

        Returns
        -------
        dict
            ``feature_variance`` of the features scaled to unit length (0 to 1) and ``feature_entropy`` of its
            spectrum; with a teacher also ``teacher_entropy`` (mean of each output's, log K at most) and
            ``teacher_information`` (entropy of the mean output less that: what an output says about its
            image, 0 where all outputs are the same). Entropies in nats. Empty for an epoch without outputs.

        Raises
        ------
        TrainingError
            ``TRAINING_COLLAPSED`` if ``patience`` epochs in a row were.
        """
        if not self._sums:
            return {}
        totals = {name: sum_over_processes(value) for name, value in self._sums.items()}
        self._sums = {}
        images = totals["images"]
        mean = totals["features"] / images
        covariance = totals["products"] / images - torch.outer(mean, mean)
        measures = {
            "feature_variance": float(covariance.trace()),
            "feature_entropy": float(feature_entropy(covariance)),
        }
        if "targets" in totals:
            each = float(totals["entropies"] / images)
            of_mean = float(entropy(totals["targets"] / images))
            measures |= {"teacher_entropy": each, "teacher_information": of_mean - each}
        self._judge(measures)
        return measures

    def _judge(self, measures: Mapping[str, float]) -> None:
        problem = _problem(measures)
        self.collapsed_epochs = self.collapsed_epochs + 1 if problem else 0
        if problem and self.collapsed_epochs >= self.patience:
            raise TrainingError(
                ReasonCode.TRAINING_COLLAPSED,
                f"training collapsed: {problem}, {self.collapsed_epochs} epochs in a row; expected outputs "
                "that differ between images: try a lower learning rate or teacher temperature, or KoLeo",
            )


def _problem(measures: Mapping[str, float]) -> str | None:
    if measures["feature_variance"] < _LEAST_FEATURE_VARIANCE:
        return f"the features of all images are the same (variance {measures['feature_variance']:.2g})"
    if measures["feature_entropy"] < _LEAST_FEATURE_ENTROPY:
        return f"the features of all images lie on a line ({measures['feature_entropy']:.3f} nats)"
    information = measures.get("teacher_information", math.inf)
    if information < _LEAST_INFORMATION:
        return (
            f"the teacher says the same of every image ({information:.4f} nats of information, "
            f"entropy {measures['teacher_entropy']:.2f})"
        )
    return None
