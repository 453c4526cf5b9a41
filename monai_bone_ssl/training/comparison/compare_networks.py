"""From the names of weights to the rows of a comparison: what ``bone-ssl compare`` runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from monai_bone_ssl.stats.calibration import MIN_CASES_TO_FIT
from monai_bone_ssl.training.comparison.compare import check_names, compare_methods
from monai_bone_ssl.training.comparison.label_audit import audit_labels
from monai_bone_ssl.training.comparison.methods import MetadataBaseline, Method
from monai_bone_ssl.training.comparison.network_rows import (
    FeatureShelf,
    FineTunedRow,
    LinearProbeRow,
    NeighboursRow,
    Network,
)
from monai_bone_ssl.training.comparison.outcome import ModelComparison
from monai_bone_ssl.training.comparison.protocol import EvaluationProtocol, make_protocol
from monai_bone_ssl.training.data import LabelledDataset, load_dataset
from monai_bone_ssl.training.data.input_spec import input_spec
from monai_bone_ssl.training.networks.extractors import is_vit, load_extractor
from monai_bone_ssl.training.probes.nested import probe_scope

__all__ = ["Probe", "compare_networks"]

#: A way to classify frozen features.
Probe = Literal["linear", "knn"]

_ROWS: Mapping[Probe, type[LinearProbeRow | NeighboursRow]] = {"linear": LinearProbeRow, "knn": NeighboursRow}


def compare_networks(
    data: Path,
    out: Path,
    *,
    features: Sequence[str],
    supervised: Sequence[str],
    probes: Sequence[Probe],
    baseline: str | None,
    long_side: int,
    epochs: int,
    label_efficiency: bool,
    embed_images: bool,
    cache: Path,
    command: str,
) -> str:
    """Compare networks on labelled radiographs and write the table.

    The files are those of :func:`~monai_bone_ssl.training.comparison.compare.compare_methods`.

    Parameters
    ----------
    data
        Labelled radiographs, as :func:`~monai_bone_ssl.training.data.load_dataset` reads them.
    out
        Folder for the outcome; made where missing.
    features
        Networks whose frozen features are classified: ``[NAME=]WEIGHTS`` each, with weights as
        :func:`~monai_bone_ssl.training.networks.extractors.load_extractor` reads them.
    supervised
        Networks to fine-tune on the labels, named alike.
    probes
        Ways to classify the features of each network: a row each.
    baseline
        Name of a row, or of a network, for its first row; None for the first row of the first CNN, or the
        metadata row where there is no CNN.
    long_side
        Longer side of every network's input in pixels.
    epochs
        Epochs of fine-tuning.
    label_efficiency
        Whether linear probes are also measured on shares of the training studies.
    embed_images
        Whether the page shows images of the data.
    cache
        Folder that keeps computed features.
    command
        Command that was typed, for the page.

    Returns
    -------
    The main figures in words.

    Raises
    ------
    ConfigError
        If the data, weights or names are not what was expected.
    CorruptImage, UnsupportedImage
        If an image cannot be used.
    ReportError
        If a file cannot be written.
    """
    dataset = load_dataset(data)
    protocol = make_protocol(dataset)
    shelf = FeatureShelf(cache)
    frozen, trained = ([_parse(text) for text in texts] for texts in (features, supervised))
    networks = [_network(source, long_side) for source in frozen]
    rows: list[Method] = [MetadataBaseline()]
    rows += [row(network, shelf) for network in networks for probe, row in _ROWS.items() if probe in probes]
    rows += [FineTunedRow(_network(source, long_side), source.weights, epochs) for source in trained]
    reference = _baseline(baseline, rows, [*frozen, *trained])
    check_names([row.name for row in rows], reference)  # before anything takes long
    linear = [row.name for row in rows if isinstance(row, LinearProbeRow)]
    suspects = audit_labels(shelf.features(networks[0], dataset), dataset) if networks else ()
    comparison = compare_methods(
        dataset,
        protocol,
        rows,
        out,
        baseline=reference,
        command=command,
        embed_images=embed_images,
        probe_scope=_scope(dataset, protocol) if linear else None,
        efficiency_of=linear if label_efficiency else (),
        suspects=suspects,
    )
    return _summary(comparison, out)


@dataclass(frozen=True)
class _Source:
    """A network as a user names it."""

    name: str
    """Name of the network in the table."""
    weights: str
    """Weights, as the command line takes them."""


def _parse(text: str) -> _Source:
    name, equals, weights = text.partition("=")
    if equals and not Path(text).is_file():
        return _Source(name, weights)
    return _Source(Path(text.removeprefix("timm:")).name.removesuffix(".safetensors"), text)


def _network(source: _Source, long_side: int) -> Network:
    extractor = load_extractor(source.weights)
    return Network(source.name, extractor, input_spec(long_side, extractor.stride))


def _baseline(wanted: str | None, rows: Sequence[Method], sources: Sequence[_Source]) -> str:
    if wanted is None:
        cnns = [source.name for source in sources if not is_vit(source.weights)]
        wanted = cnns[0] if cnns else rows[0].name
    names = [row.name for row in rows]
    of_network = [name for name in names if name.startswith(f"{wanted}, ")]
    return of_network[0] if of_network and wanted not in names else wanted


def _scope(dataset: LabelledDataset, protocol: EvaluationProtocol) -> str:
    """Whether linear probes are one a part or one for all, and why, in words."""
    scopes = {probe_scope(dataset, fold.train) for fold in protocol.folds}
    if scopes == {"part"}:
        return f"one a part: every part has {MIN_CASES_TO_FIT} or more training images of either class"
    counts = []
    for part in np.unique(dataset.parts):
        cases = np.bincount(dataset.labels[dataset.parts == part], minlength=2)
        counts.append(f"{part} {cases[1]:,} / {cases[0]:,}")
    reason = (
        f"one a part would need {MIN_CASES_TO_FIT} training images of either class in every part and "
        f"every fold; all images, positive / negative: {', '.join(counts)}"
    )
    return f"{'one for all parts' if scopes == {'joint'} else 'one for all parts in some folds'}: {reason}"


def _summary(comparison: ModelComparison, out: Path) -> str:
    column = comparison.columns[-2:][0]  # the mean of the parts, or all images where there is one part
    lines = [f"accuracy ({column.lower()}) and AUROC (all)"]
    for row in comparison.rows:
        accuracy, auroc = row.estimate("accuracy", column).value, row.metrics.auroc.value
        figures = ["none" if value is None else f"{value:.3f}" for value in (accuracy, auroc)]
        lines.append(f"  {figures[0]}  {figures[1]}  {row.name}")
    return "\n".join([*lines, f"Table: {out / 'index.html'}"])
