"""The model that an adaptation makes: the parent's network with the site's probe, checked."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.metadata import version as library_version
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.model.folder import ModelFolder, write_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.spec import BodyPartSpec, Figure, ModelSpec, TrainingData
from monai_bone_ssl.review.probe_exchange import exchange_probe
from monai_bone_ssl.review.site_features import LabelledCase, prepared
from monai_bone_ssl.review.site_judgement import Comparison
from monai_bone_ssl.review.site_probe import LinearProbe, SiteCases, SiteProbe
from monai_bone_ssl.show.colours import evidence_limit

__all__ = ["adapted_model"]

# Images that the overlays' limit is taken from, and that the new model is checked on.
_SHOWN = 32
_ROUNDING = 1e-3


def adapted_model(
    parent: ModelFolder,
    version: str,
    fitted: SiteProbe,
    site: SiteCases,
    cases: Sequence[LabelledCase],
    figures: Sequence[Comparison],
) -> tuple[bytes, ModelSpec]:
    """A model with another probe, as content of model.onnx and of model.json.

    Parameters
    ----------
    parent
        The model that was adapted.
    version
        Of the new one.
    fitted
        The new probe and what was fitted with it.
    site, cases
        What it was fitted to.
    figures
        What was measured.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where the network does not compute the new probe, or has no evidence to show.
    """
    weights = exchange_probe(parent.weights, fitted.probe)
    spec = _spec(parent.spec, fitted, version, site, figures)
    limit = _evidence_limit(weights, spec, fitted.probe, cases)
    return weights, msgspec.structs.replace(spec, evidence_limit=limit)


def _evidence_limit(
    weights: bytes, spec: ModelSpec, probe: LinearProbe, cases: Sequence[LabelledCase]
) -> float:
    """The overlays' limit from some positive images, once it is sure that the network computes the probe."""
    positives = [labelled.case for labelled in cases if labelled.label == 1]
    with tempfile.TemporaryDirectory() as scratch:
        write_model_folder(Path(scratch), weights, spec)
        model = Model(Path(scratch))
    batches = (prepared(case, spec) for case in positives[:: max(1, len(positives) // _SHOWN)])
    peaks = [_peak(model, probe, batch) for batch in batches if batch is not None]
    if not peaks or evidence_limit(peaks) <= 0:
        text = "no patch speaks for the condition in images that have it: expected evidence to show"
        raise ModelError(ReasonCode.INVALID_MODEL, text)
    return evidence_limit(peaks)


def _peak(model: Model, probe: LinearProbe, batch: npt.NDArray[np.float32]) -> float:
    """Largest patch evidence of one image."""
    seen = model.predict(batch)
    expected, found = float(probe.logits(seen.features)[0]), float(seen.logits[0])
    explained = float(seen.evidence[0].sum(dtype=np.float64) + seen.offset[0])
    if max(abs(found - expected), abs(explained - expected)) > _ROUNDING * (1 + abs(expected)):
        text = f"the new probe gives {expected:.4f}, the network {found:.4f}, its evidence {explained:.4f}"
        raise ModelError(ReasonCode.INVALID_MODEL, f"{text}: expected one number")
    return float(seen.evidence[0].max())


def _spec(
    parent: ModelSpec, fitted: SiteProbe, version: str, site: SiteCases, figures: Sequence[Comparison]
) -> ModelSpec:
    return msgspec.structs.replace(
        parent,
        version=version,
        body_parts=tuple(_body_part(part, fitted, site) for part in parent.body_parts),
        calibration=fitted.calibration,
        training_data=(*parent.training_data, _training_data(site)),
        figures=_figures(parent, figures),
        parent_weights_sha256=parent.weights_sha256,
        libraries=parent.libraries | {name: library_version(name) for name in ("onnx", "numpy")},
    )


def _body_part(part: BodyPartSpec, fitted: SiteProbe, site: SiteCases) -> BodyPartSpec:
    """Covered where the site's readers have seen it: nobody knows how the new probe does on another part."""
    if part.operating_points is None:
        return part
    points: OperatingPoints | None = fitted.points_of(part.name) if part.name in site.parts else None
    why = None if points is not None else "adapted at a site that has no verdicts on it"
    return msgspec.structs.replace(part, operating_points=points, not_covered=why)


def _training_data(site: SiteCases) -> TrainingData:
    return TrainingData(
        name="verdicts of a site's readers",
        source="read at the site that this model was adapted at",
        licence="not shared",
        n=len(site),
        n_positive=int(site.labels.sum()),
        n_groups=len(np.unique(site.patients)),
    )


def _figures(parent: ModelSpec, figures: Sequence[Comparison]) -> dict[str, Figure]:
    """The site's, marked as such; of the parent's only what the change of probe leaves true."""
    kept = {name: figure for name, figure in parent.figures.items() if name == "body_part_accuracy"}
    return kept | {f"site_{comparison.name}": comparison.new for comparison in figures}
