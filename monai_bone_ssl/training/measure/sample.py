"""Labels and predictions side by side, by image or by study."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.findings import Decision

__all__ = ["Sample", "merge_studies"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Labels and predictions of n images, in the same order."""

    labels: NDArray[np.int64]
    """Labels [n], 0 or 1."""
    probabilities: NDArray[np.float64]
    """Probabilities of the finding [n], 0 to 1."""
    thresholds: NDArray[np.float64]
    """Probabilities [n] from which an image counts as positive in two-state figures."""
    decisions: NDArray[np.str_]
    """Decisions [n], values of :class:`~monai_bone_ssl.findings.Decision`."""
    groups: NDArray[np.str_]
    """Groups [n], which resamples draw as wholes: the patient, or a stand-in for one."""
    parts: NDArray[np.str_]
    """Body parts [n], by name."""
    cells: NDArray[np.str_] | None = None
    """Cells [n] of acquisition range and body part; None where there are no ranges."""

    def __post_init__(self) -> None:
        lengths = {len(values) for values in vars(self).values() if values is not None}
        if len(lengths) != 1 or not len(self.labels):
            raise _invalid(f"predictions: columns of {sorted(lengths)} values, expected one length above 0")
        if not np.isin(self.labels, (0, 1)).all():
            raise _invalid("predictions: a label is neither 0 nor 1")
        if not ((self.probabilities >= 0) & (self.probabilities <= 1)).all():  # NaN fails too
            raise _invalid("predictions: a probability is outside [0, 1]")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Sample:
        """The images at ``index`` [m], indices or a mask."""
        return Sample(
            labels=self.labels[index],
            probabilities=self.probabilities[index],
            thresholds=self.thresholds[index],
            decisions=self.decisions[index],
            groups=self.groups[index],
            parts=self.parts[index],
            cells=None if self.cells is None else self.cells[index],
        )


def merge_studies(sample: Sample, studies: NDArray[np.str_]) -> Sample:
    """A sample of studies out of a sample of images.

    Parameters
    ----------
    sample
        n images.
    studies
        Study of each image [n].

    Returns
    -------
    Sample
        One entry for each study, in the order of the studies' names. The label is 1 where an image's is; the
        probability is the images' mean; the decision is that of
        :func:`~monai_bone_ssl.findings.study_finding`; part, group, cell and threshold are the first image's.
    """
    _, codes, sizes = np.unique(studies, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
    first = np.array([study[0] for study in members])
    return Sample(
        labels=np.array([sample.labels[study].max() for study in members]),
        probabilities=np.array([sample.probabilities[study].mean() for study in members]),
        thresholds=sample.thresholds[first],
        decisions=np.array([_study_decision(sample, study) for study in members]),
        groups=sample.groups[first],
        parts=sample.parts[first],
        cells=None if sample.cells is None else sample.cells[first],
    )


def _study_decision(sample: Sample, study: NDArray[np.int64]) -> str:
    decisions = (Decision(str(decision)) for decision in sample.decisions[study])
    return max(decisions, key=lambda decision: decision.severity).value


def _invalid(text: str) -> ConfigError:
    return ConfigError(ReasonCode.INVALID_DATA, text)
