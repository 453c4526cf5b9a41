"""Whether a site's own probe is better than the model in use, on patients that the probe has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.model.spec import Figure
from monai_bone_ssl.review.adaptation.site_cases import SiteCases
from monai_bone_ssl.review.adaptation.site_probe import (
    FOLDS,
    ProbeWeights,
    SiteProbe,
    log_losses,
)
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap, percentile_interval, ratio, weighted_auroc
from monai_bone_ssl.stats.calibration import Calibration
from monai_bone_ssl.stats.grouped_folds import grouped_folds
from monai_bone_ssl.stats.logistic_regression import sigmoid

__all__ = ["FIGURE_NAMES", "Gate", "HeldOutFigure", "ModelInUse", "held_out_figures", "judge"]

Floats = npt.NDArray[np.float64]

# Seeds of the outer folds; figures are averaged over the three divisions.
_SEEDS = (0, 1, 2)

# The AUROC that a better log loss may cost.
_MAX_AUROC_LOSS = 0.01

# The whole interval of the new AUROC has to be above this.
_MIN_AUROC = 0.6

#: Figures that are measured, each with its name in tables.
FIGURE_NAMES = {
    "log_loss": "log loss (less is better)",
    "auroc": "AUROC",
    "accuracy": "accuracy at probability 0.5",
    "sensitivity_at_high_sensitivity": "sensitivity, high-sensitivity point",
    "specificity_at_high_specificity": "specificity, high-specificity point",
}


@dataclass(frozen=True)
class HeldOutFigure:
    """One figure of the model in use and of the new one, on held-out patients, with 95 % intervals."""

    name: str
    """Key of :data:`FIGURE_NAMES`."""
    old: Figure
    new: Figure
    difference: Figure
    """New minus old, on the same resamples of patients."""


@dataclass(frozen=True)
class Gate:
    """Decision whether a new model may be used."""

    passed: bool
    reasons: tuple[str, ...]
    """Rules that failed, in words; empty where all passed."""


@dataclass(frozen=True)
class ModelInUse:
    """The probe that a site's own probe has to beat."""

    probe: ProbeWeights
    calibration: Calibration
    points: Mapping[str, OperatingPoints]
    """Operating points by body part."""

    def points_of(self, part: str) -> OperatingPoints:
        """Operating points of a body part that the model covers."""
        return self.points[part]


def held_out_figures(
    cases: SiteCases, old: ModelInUse, progress: Callable[[int, int], None] | None = None
) -> tuple[HeldOutFigure, ...]:
    """Measure the model in use, and what :meth:`SiteProbe.fit` makes of the other patients.

    Everything that the fit chooses, it chooses again in each outer fold (nested cross-validation).

    Parameters
    ----------
    cases
        Images of the site.
    old
        The model in use.
    progress
        Called after each fold with the number done and the number of all folds.
    """
    before = _scores(cases, old)
    after = [_held_out_scores(cases, old.probe, seed, progress) for seed in _SEEDS]

    def statistic(weights: Floats) -> Floats:
        of_old = _figures(weights, before, cases)
        of_new = np.mean([_figures(weights, scores, cases) for scores in after], axis=0)
        return np.stack([of_old, of_new, of_new - of_old], axis=1)  # [b, 3, figures]

    values = statistic(np.ones((1, len(cases))))[0]  # [3, figures]
    resampled = cluster_bootstrap(statistic, cases.patients).reshape(-1, values.size)
    low, high = percentile_interval(resampled).reshape(2, *values.shape)
    return tuple(
        HeldOutFigure(name, *map(_figure, values[:, column], low[:, column], high[:, column]))
        for column, name in enumerate(FIGURE_NAMES)
    )


def _figure(value: float, low: float, high: float) -> Figure:
    return Figure(value=float(value), ci_low=float(low), ci_high=float(high))


def judge(figures: tuple[HeldOutFigure, ...]) -> Gate:
    """Let a new probe pass that is better beyond chance, ranks no worse, and clearly ranks.

    The last rule is for verdicts that have nothing to do with the images. There, answering with the share of
    positives alone has a better log loss than any model.
    """
    by_name = {figure.name: figure for figure in figures}
    log_loss, auroc = by_name["log_loss"].difference, by_name["auroc"]
    rules = {
        f"log loss does not improve beyond chance (difference {_words(log_loss)})": log_loss.ci_high < 0,
        f"AUROC falls by more than {_MAX_AUROC_LOSS} ({_words(auroc.difference)})": auroc.difference.value
        >= -_MAX_AUROC_LOSS,
        f"AUROC is hardly above chance ({_words(auroc.new)})": auroc.new.ci_low > _MIN_AUROC,
    }
    failed = tuple(reason for reason, holds in rules.items() if not holds)  # NaN fails every rule
    return Gate(not failed, failed)


def _words(figure: Figure) -> str:
    return f"{figure.value:.3f}, 95 % interval {figure.ci_low:.3f} to {figure.ci_high:.3f}"


def _scores(cases: SiteCases, model: ModelInUse | SiteProbe) -> Floats:
    """Calibrated logit, high-sensitivity point and high-specificity point of each image [3, n]."""
    points = [model.points_of(str(part)) for part in cases.parts]
    return np.array(
        [
            model.calibration.scaled(model.probe.logits(cases.features)),
            [point.high_sensitivity for point in points],
            [point.high_specificity for point in points],
        ]
    )


def _held_out_scores(
    cases: SiteCases, old: ProbeWeights, seed: int, progress: Callable[[int, int], None] | None
) -> Floats:
    """Scores [3, n] as in :func:`_scores`, each from a fit that has not seen the image's patient."""
    scores = np.empty((3, len(cases)))
    folds = grouped_folds(cases.labels, cases.patients, FOLDS, seed + 1)
    for fold in range(FOLDS):
        tested = folds == fold
        scores[:, tested] = _scores(cases.take(tested), SiteProbe.fit(cases.take(~tested), old))
        if progress is not None:
            progress(_SEEDS.index(seed) * FOLDS + fold + 1, len(_SEEDS) * FOLDS)
    return scores


def _figures(weights: Floats, scores: Floats, cases: SiteCases) -> Floats:
    """Figures [b, figures] under weights [b, n], in the order of :data:`FIGURE_NAMES`."""
    (logits, low, high), labels = scores, cases.labels
    probabilities = sigmoid(logits)
    positive = labels == 1

    def share(hits: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Floats:
        return ratio(weights @ (hits & among), weights @ among.astype(np.float64))

    return np.stack(
        [
            weights @ log_losses(logits, labels) / weights.sum(axis=1),
            weighted_auroc(weights, labels, logits),
            share((probabilities >= 0.5) == positive, np.ones(len(cases), dtype=np.bool_)),
            share(probabilities >= low, positive),
            share(probabilities < high, ~positive),
        ],
        axis=1,
    )
