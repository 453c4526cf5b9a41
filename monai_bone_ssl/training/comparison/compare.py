"""From rows and labelled data to the whole table: comparison.json, table.csv and one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.training.comparison.charts import make_charts
from monai_bone_ssl.training.comparison.comparison_page import write_comparison_page
from monai_bone_ssl.training.comparison.gallery import error_gallery, suspect_gallery
from monai_bone_ssl.training.comparison.label_audit import audit_csv
from monai_bone_ssl.training.comparison.label_efficiency import efficiency_points
from monai_bone_ssl.training.comparison.measure import measure_rows
from monai_bone_ssl.training.comparison.methods import Method
from monai_bone_ssl.training.comparison.outcome import (
    COMPARISON_SCHEMA_VERSION,
    DataSummary,
    ModelComparison,
    PartCounts,
    ProtocolSummary,
    SuspectLabel,
    table_csv,
)
from monai_bone_ssl.training.comparison.pointing import localise_row
from monai_bone_ssl.training.comparison.predictions import PredictionStore
from monai_bone_ssl.training.comparison.protocol import THRESHOLD, EvaluationProtocol
from monai_bone_ssl.training.compute.software import software
from monai_bone_ssl.training.data import LabelledDataset
from monai_bone_ssl.training.measure.evaluate import studies_of

__all__ = ["check_names", "compare_methods"]

_LIBRARIES = ("torch", "timm", "scikit-learn", "scipy", "numpy", "pillow")

#: Images on the page whose neighbours speak most against their label.
_SUSPECTS = 24


def compare_methods(
    dataset: LabelledDataset,
    protocol: EvaluationProtocol,
    methods: Sequence[Method],
    out: Path,
    *,
    baseline: str,
    command: str,
    embed_images: bool,
    probe_scope: str | None = None,
    efficiency_of: Sequence[str] = (),
    suspects: Sequence[SuspectLabel] = (),
) -> ModelComparison:
    """Predict with every row, measure, and write the outcome.

    Writes ``predictions/`` as they come, then ``table.csv``, ``label_audit.csv`` where labels were audited,
    ``comparison.json`` and, last, ``index.html``. A stopped run goes on where it was.

    Parameters
    ----------
    dataset
        Labelled images.
    protocol
        Which images are learnt from and which are predicted, see
        :func:`~monai_bone_ssl.training.comparison.protocol.make_protocol`.
    methods
        Rows in the table's order; their names are unique.
    out
        Folder for the outcome; made where missing.
    baseline
        Name of the row that all others are compared with.
    command
        Command that was typed, for the page.
    embed_images
        Whether the page shows images of the data; a page that may be shared has none.
    probe_scope
        Whether linear probes are one a part or one for all, and why; None where no row is a linear probe.
    efficiency_of
        Names of the rows that are also measured on shares of the training studies.
    suspects
        Outcome of the label audit, worst first; empty where labels were not audited.

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
    pointing = {method.name: localise_row(method, store, protocol) for method in methods}
    rows, runs = measure_rows(methods, probabilities, pointing, dataset.take(protocol.evaluated), baseline)
    curves = [method for method in methods if method.name in efficiency_of]
    efficiency = [point for method in curves for point in efficiency_points(method, store, protocol)]
    comparison = ModelComparison(
        schema_version=COMPARISON_SCHEMA_VERSION,
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
        software=software(*_LIBRARIES),
    )
    write_atomically(out / "table.csv", table_csv(comparison))
    if suspects:
        write_atomically(out / "label_audit.csv", audit_csv(suspects))
    json = msgspec.json.format(msgspec.json.encode(comparison), indent=2) + b"\n"
    write_atomically(out / "comparison.json", json)
    write_comparison_page(
        out / "index.html",
        comparison,
        charts=make_charts(comparison, runs),
        errors=[error_gallery(row, runs[row.name], store, protocol, embed_images) for row in methods],
        suspects=suspect_gallery(comparison, dataset, embed_images) if suspects else None,
    )
    return comparison


def check_names(names: Sequence[str], baseline: str) -> None:
    """Refuse names that repeat, and a baseline that is none of them.

    Raises
    ------
    ConfigError
        Where a name repeats, or the baseline is not among the names.
    """
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        text = f"{times} rows are called {name}, expected one; name them with NAME=WEIGHTS"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    if baseline not in names:
        text = f"baseline {baseline}: expected one of the rows, {'; '.join(names)}"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)


def _data_summary(dataset: LabelledDataset, protocol: EvaluationProtocol, digest: str) -> DataSummary:
    learnt = np.unique(np.concatenate([fold.train for fold in protocol.folds]))
    train, test = dataset.take(learnt), dataset.take(protocol.evaluated)
    parts = {}
    for part in np.unique(test.parts):
        (train_negative, train_positive), (test_negative, test_positive) = (
            np.bincount(images.labels[images.parts == part], minlength=2).tolist() for images in (train, test)
        )
        parts[str(part)] = PartCounts(train_positive, train_negative, test_positive, test_negative)
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
