"""Rows on labelled data to the whole table: comparison.json, table.csv and one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl import __version__
from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.training.comparison import plots
from monai_bone_ssl.training.comparison.audit import AUDIT_NEIGHBOURS, audit_csv
from monai_bone_ssl.training.comparison.efficiency import efficiency_points
from monai_bone_ssl.training.comparison.gallery import evidence_limit, make_thumbnail, worst_errors
from monai_bone_ssl.training.comparison.measure import Runs, measure_rows
from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.outcome import (
    SCHEMA_VERSION,
    Comparison,
    DataSummary,
    PartCounts,
    ProtocolSummary,
    SuspectLabel,
)
from monai_bone_ssl.training.comparison.page import Card, Chart, Gallery, write_page
from monai_bone_ssl.training.comparison.predictions import PredictionStore
from monai_bone_ssl.training.comparison.protocol import THRESHOLD, Protocol
from monai_bone_ssl.training.comparison.table import FIGURES, table_csv
from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.evaluate import studies_of
from monai_bone_ssl.training.plots import to_png

__all__ = ["check_names", "compare"]

Ints = NDArray[np.int64]
FloatArray = NDArray[np.float32]

_LIBRARIES = ("torch", "timm", "scikit-learn", "scipy", "numpy", "pillow")

#: Images on the page whose neighbours speak most against their label.
_SUSPECTS = 24


def compare(
    dataset: LabelledDataset,
    protocol: Protocol,
    methods: Sequence[Method],
    out: Path,
    *,
    baseline: str,
    command: str,
    embed_images: bool,
    probe_scope: str | None = None,
    efficiency_of: Sequence[str] = (),
    suspects: Sequence[SuspectLabel] = (),
) -> Comparison:
    """Predict with every row, measure, and write the outcome.

    Writes ``predictions/`` as they come, then ``table.csv``, ``label_audit.csv`` where labels were audited,
    ``comparison.json`` and, last, ``index.html``. A stopped run goes on where it was.

    Parameters
    ----------
    dataset, protocol
        Labelled images, and :func:`~monai_bone_ssl.training.comparison.protocol.make_protocol` of them.
    methods
        The rows, in the table's order; names are unique.
    out
        Folder; made where missing.
    baseline
        Name of the row that all others are compared with.
    command
        What was typed, for the page.
    embed_images
        Whether the page shows images of the data; a page that may be shared has none.
    probe_scope
        Whether linear probes are one a part or one for all, and why.
    efficiency_of
        Rows that are also measured on shares of the training studies.
    suspects
        Outcome of the label audit, worst first.

    Raises
    ------
    ConfigError
        Where names repeat, no row is called ``baseline``, or the predictions in ``out`` were altered.
    ReportError
        Where a file cannot be written.
    """
    check_names([method.name for method in methods], baseline)
    store = PredictionStore(out / "predictions", dataset)
    probabilities = {method.name: store.runs(method, protocol) for method in methods}
    evaluated = dataset.take(protocol.evaluated)
    rows, runs = measure_rows(methods, probabilities, evaluated, baseline)
    curves = [method for method in methods if method.name in efficiency_of]
    efficiency = [point for method in curves for point in efficiency_points(method, store, protocol)]
    comparison = Comparison(
        schema_version=SCHEMA_VERSION,
        data=_data_summary(dataset, protocol, store.data_digest),
        protocol=ProtocolSummary(
            kind="held_out" if protocol.held_out else "cross_validated",
            description=protocol.describe(),
            seeds=protocol.seeds,
            threshold=THRESHOLD,
            probe_scope=probe_scope,
        ),
        baseline=baseline,
        rows=rows,
        label_efficiency=tuple(efficiency),
        suspect_labels=tuple(suspects[:_SUSPECTS]),
        command=command,
        software=_software(),
    )
    write_atomically(out / "table.csv", table_csv(comparison))
    if suspects:
        write_atomically(out / "label_audit.csv", audit_csv(suspects))
    json = msgspec.json.format(msgspec.json.encode(comparison), indent=2) + b"\n"
    write_atomically(out / "comparison.json", json)
    write_page(
        comparison,
        out / "index.html",
        charts=_charts(comparison, runs),
        errors=[_errors(method, runs[method.name], store, protocol, embed_images) for method in methods],
        suspects=_suspects(comparison, dataset, embed_images) if suspects else None,
    )
    return comparison


def check_names(names: Sequence[str], baseline: str) -> None:
    """Refuse names that repeat, and a baseline that is none of them.

    Raises
    ------
    ConfigError
        In either case.
    """
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise _invalid(f"{times} rows are called {name}, expected one; name them with NAME=WEIGHTS")
    if baseline not in names:
        raise _invalid(f"baseline {baseline}: expected one of the rows, {'; '.join(names)}")


def _data_summary(dataset: LabelledDataset, protocol: Protocol, digest: str) -> DataSummary:
    learnt = np.unique(np.concatenate([fold.train for fold in protocol.folds]))
    train, test = dataset.take(learnt), dataset.take(protocol.evaluated)
    parts = {}
    for part in np.unique(test.parts):
        train_labels, test_labels = (d.labels[d.parts == part] for d in (train, test))
        parts[str(part)] = PartCounts(
            train_positive=int(train_labels.sum()),
            train_negative=int((1 - train_labels).sum()),
            test_positive=int(test_labels.sum()),
            test_negative=int((1 - test_labels).sum()),
        )
    studies = studies_of(test.images)
    return DataSummary(
        name=dataset.source.name,
        licence=dataset.source.licence,
        reference=dataset.source.reference,
        target=dataset.target.name,
        digest=digest,
        parts=parts,
        n_groups=len(np.unique(test.groups)),
        n_studies=None if studies is None else len(np.unique(studies)),
    )


def _software() -> dict[str, str]:
    versions = {"monai-bone-ssl": __version__}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:  # a comparison of predictions alone needs no network
            continue
    return versions


def _charts(comparison: Comparison, runs: Mapping[str, Runs]) -> list[Chart]:
    samples = {name: next(iter(by_seed.values())) for name, by_seed in runs.items()}
    charts = [
        Chart(
            "Accuracy by part",
            to_png(plots.bars_figure(comparison, "accuracy", FIGURES["accuracy"])),
            "A probability from 0.5 on counts as positive.",
        ),
        Chart(
            "ROC curves",
            to_png(plots.roc_figure(comparison, samples)),
            "All evaluated images, predictions under the first seed; the AUROCs are means over the seeds.",
        ),
        Chart(
            "Reliability",
            to_png(plots.reliability_figure(comparison, samples)),
            "Observed share of positives in 15 bins of the probability, first seed; lines: 95 % interval.",
        ),
    ]
    if comparison.label_efficiency:
        charts.append(
            Chart(
                "Label efficiency",
                to_png(plots.efficiency_figure(comparison)),
                "The same test images, predicted after learning from a share of the training studies. Dots: "
                "draws of the share, each the mean over the folds of the first seed; lines: their mean.",
            )
        )
    return charts


def _errors(
    method: Method, runs: Runs, store: PredictionStore, protocol: Protocol, embed_images: bool
) -> Gallery:
    dataset = store.dataset
    mean = np.mean([sample.probabilities for sample in runs.values()], axis=0)
    evaluated = dataset.take(protocol.evaluated)
    alarms, misses = worst_errors(evaluated.labels, mean)
    chosen = [int(protocol.evaluated[i]) for i in (*alarms, *misses)]
    evidence = _evidence(method, store, protocol, chosen) if embed_images else {}
    limit = evidence_limit(evidence)
    cards = []
    for i, probability in zip(chosen, mean[[*alarms, *misses]], strict=True):
        image = dataset.images[i]
        kind = "labelled positive" if image.label else "labelled negative"
        picture = make_thumbnail(image.path, evidence.get(i), limit) if embed_images else None
        cards.append(Card(image.name, f"{image.part}, {kind}, probability {probability:.2f}", picture))
    note = f"{len(alarms)} false positives, then {len(misses)} false negatives."
    if evidence:
        note += f" Colour: evidence for the target; full colour is {limit:.2g} logit per patch, in this row."
    return Gallery(method.name, note, tuple(cards))


def _evidence(
    method: Method, store: PredictionStore, protocol: Protocol, images: Sequence[int]
) -> dict[int, FloatArray]:
    """Evidence by a model that did not see the image: that of its fold under the first seed."""
    evidence: dict[int, FloatArray] = {}
    for fold in protocol.folds_of(protocol.seeds[0]):
        tested = np.intersect1d(images, fold.test)
        if len(tested):
            evidence |= store.evidence(method, fold, tested)
    return evidence


def _suspects(comparison: Comparison, dataset: LabelledDataset, embed_images: bool) -> Gallery:
    by_name = {image.name: image for image in dataset.images}
    cards = [
        Card(
            suspect.path,
            f"{suspect.part}, labelled {'positive' if suspect.label else 'negative'}, "
            f"neighbours for it {100 * suspect.probability_of_label:.0f} %",
            make_thumbnail(by_name[suspect.path].path) if embed_images else None,
        )
        for suspect in comparison.suspect_labels
    ]
    note = (
        f"Images whose {AUDIT_NEIGHBOURS} nearest neighbours in other folds speak most against their label. "
        "The label may be right and the image unusual: a reader decides. All images are in label_audit.csv."
    )
    return Gallery("Label audit", note, tuple(cards))


def _invalid(text: str) -> ConfigError:
    return ConfigError(ReasonCode.INVALID_CONFIG, text)
