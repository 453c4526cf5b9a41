"""From the predictions of every row to figures, differences and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.outcome import RowOutcome
from monai_bone_ssl.training.comparison.protocol import make_sample
from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.measure.evaluate import hardware_of, studies_of
from monai_bone_ssl.training.measure.localisation import Localisation
from monai_bone_ssl.training.measure.metrics import compute_metrics, mean_over_parts
from monai_bone_ssl.training.measure.paired_tests import PairedComparison, compare_pair
from monai_bone_ssl.training.measure.sample import Sample, merge_studies

__all__ = ["Runs", "measure_rows"]

#: Predictions of one row for all evaluated images, by seed.
Runs = Mapping[int, Sample]


def measure_rows(
    methods: Sequence[Method],
    probabilities: Mapping[str, Mapping[int, NDArray[np.float64]]],
    pointing: Mapping[str, Localisation | None],
    evaluated: LabelledDataset,
    baseline: str,
) -> tuple[tuple[RowOutcome, ...], dict[str, Runs]]:
    """Measure every row on the same images.

    Parameters
    ----------
    methods
        Rows in the table's order.
    probabilities
        Probabilities of the images by row name and seed, float64 [n] each.
    pointing
        Where each row points, by row name; None where nothing is outlined, or the row has no evidence.
    evaluated
        Images that were predicted, n of them.
    baseline
        Name of the row that all others are compared with, over the seeds that both have.

    Returns
    -------
    rows
        Outcomes in the order of the methods.
    runs
        Predictions that the rows were measured on, by row name.
    """
    runs: dict[str, Runs] = {
        name: {seed: make_sample(evaluated, values) for seed, values in by_seed.items()}
        for name, by_seed in probabilities.items()
    }
    rows = [
        _measure(
            method,
            runs[method.name],
            None if method.name == baseline else runs[baseline],
            pointing[method.name],
            evaluated,
        )
        for method in tqdm(methods, desc="figures", unit="row")
    ]
    return tuple(rows), runs


def _measure(
    method: Method,
    runs: Runs,
    baseline: Runs | None,
    pointing: Localisation | None,
    evaluated: LabelledDataset,
) -> RowOutcome:
    studies = studies_of(evaluated.images)
    by_study = _merge(runs, studies)
    return RowOutcome(
        name=method.name,
        description=method.description,
        seeds=tuple(runs),
        metrics=compute_metrics(
            list(runs.values()),
            hardware=hardware_of(evaluated.images),
            studies=studies,
            localisation=pointing,
        ),
        mean_over_parts=mean_over_parts(list(runs.values())),
        study_mean_over_parts=None if by_study is None else mean_over_parts(list(by_study.values())),
        against_baseline=_pair(runs, baseline),
        study_against_baseline=_pair(by_study, _merge(baseline, studies)),
    )


def _merge(runs: Runs | None, studies: NDArray[np.str_] | None) -> Runs | None:
    if runs is None or studies is None:
        return None
    return {seed: merge_studies(sample, studies) for seed, sample in runs.items()}


def _pair(runs: Runs | None, baseline: Runs | None) -> PairedComparison | None:
    if runs is None or baseline is None:
        return None
    seeds = [seed for seed in runs if seed in baseline]
    return compare_pair([runs[seed] for seed in seeds], [baseline[seed] for seed in seeds])
