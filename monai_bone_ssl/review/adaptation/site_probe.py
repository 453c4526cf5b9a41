"""A site's own linear probe, which starts from the probe in use.

The new logit is ``slope * old logit + intercept + features @ change``. Slope and intercept are free, so that
what the old probe knows costs nothing. An L2 penalty holds the change back; cross-validation over patients
chooses how strongly. A strength of 0 means no change: the old answers, calibrated again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.review.adaptation.site_cases import SiteCases
from monai_bone_ssl.stats.calibration import Calibration, fit_calibration, fix_operating_points
from monai_bone_ssl.stats.grouped_folds import grouped_folds
from monai_bone_ssl.stats.logistic_regression import fit_logistic_regression

__all__ = [
    "CHANGE_STRENGTHS",
    "FOLDS",
    "MIN_PER_CLASS",
    "ProbeWeights",
    "SiteProbe",
    "log_losses",
]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Least number of verdicts of either answer: fewer cannot say whether a change helps.
MIN_PER_CLASS = 20

#: Strengths to choose from: the variance, in logit, that the L2 penalty expects of the change over images
#: whose standardised features are independent; scikit-learn's C times the number of features.
CHANGE_STRENGTHS = (0.0, 0.03, 0.3, 3.0)

#: Number of folds that patients are divided into, in the inner and in the outer cross-validation.
FOLDS = 5

# Penalty of slope and intercept: as good as none.
_FREE = 1e-6


@dataclass(frozen=True, eq=False)
class ProbeWeights:
    """Weights of a linear probe: a logit is ``features @ weight + bias``."""

    weight: Floats
    """Weights [D], one a feature."""
    bias: float

    def logits(self, features: npt.NDArray[np.float32]) -> Floats:
        """Logits [n] of features [n, D]."""
        return np.asarray(features @ self.weight + self.bias)


@dataclass(frozen=True, eq=False)
class SiteProbe:
    """A probe that was fitted to a site, with its calibration and operating points."""

    probe: ProbeWeights
    strength: float
    """Strength with the least held-out log loss among :data:`CHANGE_STRENGTHS`."""
    calibration: Calibration
    """Calibration that was fitted to held-out logits."""
    points: Mapping[str, OperatingPoints]
    """Operating points by body part, on held-out probabilities; only parts with at least
    :data:`MIN_PER_CLASS` verdicts of either answer."""
    other_points: OperatingPoints
    """Operating points of all other body parts, on the probabilities of all images."""

    def points_of(self, part: str) -> OperatingPoints:
        """Operating points of a body part."""
        return self.points.get(part, self.other_points)

    @classmethod
    def fit(cls, cases: SiteCases, old: ProbeWeights) -> Self:
        """Choose the strength, calibrate and fix the operating points by grouped cross-validation, and fit.

        Raises
        ------
        ConfigError
            ``INVALID_DATA`` where the training cases of a fold are of one class.
        """
        held_out = np.empty((len(CHANGE_STRENGTHS), len(cases)))
        folds = grouped_folds(cases.labels, cases.patients, FOLDS, seed=0)
        for fold in range(FOLDS):
            tested = folds == fold
            probes = _fit_probes(cases.take(~tested), old, CHANGE_STRENGTHS)
            held_out[:, tested] = [probe.logits(cases.features[tested]) for probe in probes]
        chosen = int(np.argmin([log_losses(logits, cases.labels).mean() for logits in held_out]))
        calibration = fit_calibration(held_out[chosen], cases.labels)
        probabilities = calibration.probabilities(held_out[chosen])
        return cls(
            probe=_fit_probes(cases, old, CHANGE_STRENGTHS[chosen : chosen + 1])[0],
            strength=CHANGE_STRENGTHS[chosen],
            calibration=calibration,
            points=_points_by_part(probabilities, cases),
            other_points=fix_operating_points(probabilities, cases.labels),
        )


def log_losses(logits: Floats, labels: Integers) -> Floats:
    """Negative log-likelihood [n] of each label, in nat."""
    return np.asarray(np.logaddexp(0, logits) - labels * logits)


def _fit_probes(cases: SiteCases, old: ProbeWeights, strengths: Sequence[float]) -> list[ProbeWeights]:
    """Fit one probe for each strength.

    With fewer images than features, the change lies in the space that the images span (the representer
    theorem): it is found in their n principal coordinates instead of D features.
    """
    mean, scale = cases.features.mean(axis=0, dtype=np.float64), _scale(cases.features)
    standardised = (cases.features - mean) / scale
    variances, axes = np.linalg.eigh(standardised @ standardised.T)
    kept = variances > variances[-1] * 1e-9
    lengths = np.sqrt(variances[kept])
    coordinates = axes[:, kept] * lengths  # [n, r]
    directions = standardised.T @ (axes[:, kept] / lengths)  # [D, r]

    logits = old.logits(cases.features)
    centre, unit = float(logits.mean()), max(float(logits.std()), 1e-12)
    free = np.stack([(logits - centre) / unit, np.ones(len(cases))], axis=1)
    probes = []
    for strength in strengths:
        held_back = coordinates if strength > 0 else coordinates[:, :0]
        penalty = len(mean) / strength if strength > 0 else 0.0
        ridge = np.concatenate([np.full(2, _FREE), np.full(held_back.shape[1], penalty)])
        solution = fit_logistic_regression(np.hstack([free, held_back]), cases.labels, ridge)
        slope, change = solution[0] / unit, directions[:, : held_back.shape[1]] @ solution[2:] / scale
        bias = slope * (old.bias - centre) + solution[1] - change @ mean
        probes.append(ProbeWeights(slope * old.weight + change, float(bias)))
    return probes


def _scale(features: npt.NDArray[np.float32]) -> Floats:
    scale = features.std(axis=0, dtype=np.float64)
    return np.where(scale > 0, scale, 1.0)


def _points_by_part(probabilities: Floats, cases: SiteCases) -> dict[str, OperatingPoints]:
    points = {}
    for part in np.unique(cases.parts):
        rows = cases.parts == part
        if np.bincount(cases.labels[rows], minlength=2).min() >= MIN_PER_CLASS:
            points[str(part)] = fix_operating_points(probabilities[rows], cases.labels[rows])
    return points
