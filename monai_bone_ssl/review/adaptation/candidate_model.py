"""The model that an adaptation makes: the parent's network with the site's probe in it, checked.

The probe inside model.onnx is exchanged for another one; every other tensor stays bit for bit. Needs the onnx
package (extra ``adapt``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.metadata import version as library_version
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.findings import OperatingPoints
from monai_bone_ssl.model.folder import ModelFolder, write_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.spec import BodyPartSpec, Figure, ModelSpec, TrainingData
from monai_bone_ssl.review.adaptation.gate import HeldOutFigure
from monai_bone_ssl.review.adaptation.site_cases import LabelledCase, SiteCases, network_input
from monai_bone_ssl.review.adaptation.site_probe import ProbeWeights, SiteProbe

__all__ = ["candidate_model", "exchange_probe", "read_probe"]

# Names of the probe's tensors in model.onnx: the exporter keeps those of the torch network.
_WEIGHT, _BIAS = "probe.weight", "probe.bias"

_CHECKED = 32  # images that the new model is checked on
_ROUNDING = 1e-3


def candidate_model(
    parent: ModelFolder,
    version: str,
    fitted: SiteProbe,
    site: SiteCases,
    cases: Sequence[LabelledCase],
    figures: Sequence[HeldOutFigure],
) -> tuple[bytes, ModelSpec]:
    """Make a model with another probe, as content of model.onnx and of model.json.

    Parameters
    ----------
    parent
        The model that was adapted.
    version
        Version of the new model.
    fitted
        The new probe, with its calibration and operating points.
    site, cases
        Images that the probe was fitted to.
    figures
        Figures that were measured.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where the network does not compute the new probe.
    """
    weights = exchange_probe(parent.weights, fitted.probe)
    spec = _spec(parent.spec, fitted, version, site, figures)
    _check(weights, spec, fitted.probe, cases)
    return weights, spec


# --- the probe inside model.onnx ----------------------------------------------------------------------------


def read_probe(weights: bytes) -> ProbeWeights:
    """Read the linear probe of model.onnx.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where there is none.
    """
    tensors = {tensor.name: tensor for tensor in onnx.load_from_string(weights).graph.initializer}
    if _WEIGHT not in tensors or _BIAS not in tensors:
        text = f"model.onnx has no {_WEIGHT} and {_BIAS}: expected a model written by bone-ssl fit"
        raise ModelError(ReasonCode.INVALID_MODEL, text)
    weight = numpy_helper.to_array(tensors[_WEIGHT]).astype(np.float64)
    return ProbeWeights(weight.ravel(), float(numpy_helper.to_array(tensors[_BIAS]).ravel()[0]))


def exchange_probe(weights: bytes, new: ProbeWeights) -> bytes:
    """Put another probe into model.onnx.

    The exporter folds copies of the weight into the graph, such as the one that the contributions are made
    with: every tensor with exactly the weight's values is exchanged.
    """
    model = onnx.load_from_string(weights)
    old = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        values = old[tensor.name]
        if values.dtype == np.float32 and np.array_equal(values.ravel(), old[_WEIGHT].ravel()):
            _replace(tensor, new.weight.reshape(values.shape))
    (bias,) = [tensor for tensor in model.graph.initializer if tensor.name == _BIAS]
    _replace(bias, np.full(old[_BIAS].shape, new.bias))
    exchanged: bytes = model.SerializeToString(deterministic=True)
    return exchanged


def _replace(tensor: TensorProto, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


# --- the proof that the network computes the probe ----------------------------------------------------------


def _check(weights: bytes, spec: ModelSpec, probe: ProbeWeights, cases: Sequence[LabelledCase]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        write_model_folder(Path(scratch), weights, spec)
        model = Model(Path(scratch))
    for labelled in cases[:: max(1, len(cases) // _CHECKED)]:
        batch = network_input(labelled.case, spec)
        if batch is not None:
            _check_image(model, probe, batch)


def _check_image(model: Model, probe: ProbeWeights, batch: npt.NDArray[np.float32]) -> None:
    """Compare the probe, the network and the sum of its contributions on one image [1, 1, H, W]."""
    seen = model.predict(batch)
    expected, found = float(probe.logits(seen.features)[0]), float(seen.logits[0])
    explained = float(seen.contribution[0].sum(dtype=np.float64) + seen.offset[0])
    if max(abs(found - expected), abs(explained - expected)) > _ROUNDING * (1 + abs(expected)):
        text = f"the new probe gives {expected:.4f}, the network {found:.4f}, its patches {explained:.4f}"
        raise ModelError(ReasonCode.INVALID_MODEL, f"{text}: expected one number")


# --- model.json ---------------------------------------------------------------------------------------------


def _spec(
    parent: ModelSpec, fitted: SiteProbe, version: str, site: SiteCases, figures: Sequence[HeldOutFigure]
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
    """Cover a part only where the site has verdicts on it: nobody knows how the new probe does on others."""
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


def _figures(parent: ModelSpec, figures: Sequence[HeldOutFigure]) -> dict[str, Figure]:
    """The site's figures, marked as such, beside those of the parent that another probe leaves true."""
    kept = {name: figure for name, figure in parent.figures.items() if name == "body_part_accuracy"}
    return kept | {f"site_{figure.name}": figure.new for figure in figures}
