"""Whether a site's own probe is better than the old one, on patients that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.model.spec import Figure
from monai_bone_ssl.review.site_probe import (
    FOLDS,
    SEEDS,
    LinearProbe,
    SiteCases,
    SiteProbe,
    grouped_folds,
    log_losses,
)
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap, percentile_interval, ratio, weighted_auroc
from monai_bone_ssl.stats.calibration import Calibration

__all__ = [
    "FIGURE_NAMES",
    "MAX_AUROC_LOSS",
    "MIN_AUROC",
    "Comparison",
    "Gate",
    "OldModel",
    "compare",
    "judge",
]

Floats = npt.NDArray[np.float64]

#: A better log loss may cost this much AUROC and no more.
MAX_AUROC_LOSS = 0.01

#: The whole interval of the new AUROC has to be above it.
MIN_AUROC = 0.6

#: What is compared, and how tables call it.
FIGURE_NAMES = {
    "log_loss": "log loss (less is better)",
    "auroc": "AUROC",
    "accuracy": "accuracy at probability 0.5",
    "sensitivity_at_high_sensitivity": "sensitivity, high-sensitivity point",
    "specificity_at_high_specificity": "specificity, high-specificity point",
}


@dataclass(frozen=True)
class Comparison:
    """A figure on held-out verdicts, of the old model and of the new one, with 95 % intervals."""

    name: str
    old: Figure
    new: Figure
    difference: Figure
    """New minus old, on the same resamples of patients."""


@dataclass(frozen=True)
class Gate:
    """Whether a new model may be used, and why not."""

    passed: bool
    reasons: tuple[str, ...]
    """Each rule that failed, in words; empty where all passed."""


@dataclass(frozen=True)
class OldModel:
    """What the new probe has to beat."""

    probe: LinearProbe
    calibration: Calibration
    points: dict[str, OperatingPoints]
    """By body part."""


@dataclass(frozen=True, eq=False)
class _Scores:
    """What one model says of all cases: of each, from a fit that has not seen its patient."""

    logits: Floats
    """[n], calibrated."""
    low: Floats
    """[n], the high-sensitivity points of each one's body part."""
    high: Floats
    """[n], the high-specificity points."""


def compare(
    cases: SiteCases, old: OldModel, progress: Callable[[int, int], None] | None = None
) -> tuple[Comparison, ...]:
    """Compare the old model with what :meth:`SiteProbe.fit` makes of the other patients.

    Everything that the fit chooses, it chooses again in each outer fold (nested cross-validation).

    Parameters
    ----------
    cases
        Of the site.
    old
        The model in use.
    progress
        Called with how many of the folds are done, and how many there are.
    """
    before = _of_old(cases, old)
    after = [_held_out(cases, old.probe, seed, progress) for seed in SEEDS]

    def statistic(weights: Floats) -> Floats:
        of_old = _figures(weights, before, cases)
        of_new = np.mean([_figures(weights, scores, cases) for scores in after], axis=0)
        return np.stack([of_old, of_new, of_new - of_old], axis=1)  # [b, 3, figures]

    values = statistic(np.ones((1, len(cases))))[0]  # [3, figures]
    resampled = cluster_bootstrap(statistic, cases.patients).reshape(-1, values.size)
    low, high = percentile_interval(resampled).reshape(2, *values.shape)
    return tuple(
        Comparison(name, *map(_figure, values[:, column], low[:, column], high[:, column]))
        for column, name in enumerate(FIGURE_NAMES)
    )


def _figure(value: float, low: float, high: float) -> Figure:
    return Figure(value=float(value), ci_low=float(low), ci_high=float(high))


def judge(comparisons: tuple[Comparison, ...]) -> Gate:
    """Let a new probe pass that is better beyond chance, ranks no worse, and clearly ranks.

    The last rule is for verdicts that have nothing to do with the images. There, answering with the share of
    positives alone has a better log loss than any model.
    """
    by_name = {comparison.name: comparison for comparison in comparisons}
    log_loss, auroc = by_name["log_loss"].difference, by_name["auroc"]
    rules = {
        f"log loss does not improve beyond chance (difference {_words(log_loss)})": log_loss.ci_high < 0,
        f"AUROC falls by more than {MAX_AUROC_LOSS} ({_words(auroc.difference)})": auroc.difference.value
        >= -MAX_AUROC_LOSS,
        f"AUROC is hardly above chance ({_words(auroc.new)})": auroc.new.ci_low > MIN_AUROC,
    }
    failed = tuple(reason for reason, holds in rules.items() if not holds)  # NaN holds nowhere
    return Gate(not failed, failed)


def _words(figure: Figure) -> str:
    return f"{figure.value:.3f}, 95 % interval {figure.ci_low:.3f} to {figure.ci_high:.3f}"


def _of_old(cases: SiteCases, old: OldModel) -> _Scores:
    logits = old.calibration.slope * old.probe.logits(cases.features) + old.calibration.intercept
    points = [old.points[part] for part in cases.parts]
    return _scores(logits, points)


def _held_out(
    cases: SiteCases, old: LinearProbe, seed: int, progress: Callable[[int, int], None] | None
) -> _Scores:
    logits, points = np.empty(len(cases)), np.empty(len(cases), dtype=object)
    folds = grouped_folds(cases.labels, cases.patients, seed + 1)
    for fold in range(FOLDS):
        tested = np.flatnonzero(folds == fold)
        fitted = SiteProbe.fit(cases.take(folds != fold), old)
        raw = fitted.probe.logits(cases.features[tested])
        logits[tested] = fitted.calibration.slope * raw + fitted.calibration.intercept
        for row in tested:
            points[row] = fitted.points_of(str(cases.parts[row]))
        if progress is not None:
            progress(SEEDS.index(seed) * FOLDS + fold + 1, len(SEEDS) * FOLDS)
    return _scores(logits, list(points))


def _scores(logits: Floats, points: list[OperatingPoints]) -> _Scores:
    low = np.array([point.high_sensitivity for point in points])
    return _Scores(logits, low, np.array([point.high_specificity for point in points]))


def _figures(weights: Floats, scores: _Scores, cases: SiteCases) -> Floats:
    """[b, figures] under weights [b, n], in the order of :data:`FIGURE_NAMES`."""
    labels = cases.labels
    probabilities = 0.5 + 0.5 * np.tanh(scores.logits / 2)
    positive = labels == 1

    def share(hits: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Floats:
        return ratio(weights @ (hits & among), weights @ among.astype(np.float64))

    everywhere = np.ones(len(cases), dtype=np.bool_)
    return np.stack(
        [
            weights @ log_losses(scores.logits, labels) / weights.sum(axis=1),
            weighted_auroc(weights, labels, scores.logits),
            share((probabilities >= 0.5) == positive, everywhere),
            share(probabilities >= scores.low, positive),
            share(probabilities < scores.high, ~positive),
        ],
        axis=1,
    )
