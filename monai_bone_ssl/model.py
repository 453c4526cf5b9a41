"""A model folder (model.onnx + model.json) to logits, features and exact evidence; onnxruntime only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.model_spec import ModelSpec
from monai_bone_ssl.model_store import current_folder

__all__ = [
    "CASES",
    "MODEL_FILES",
    "OUTPUT_NAMES",
    "Device",
    "Model",
    "ModelFolder",
    "Prediction",
    "default_model_folder",
    "read_cases",
    "read_model_folder",
    "read_spec",
    "write_model_folder",
]

#: Outputs of model.onnx, in the order of :class:`Prediction`.
OUTPUT_NAMES = ("logits", "features", "evidence", "offset", "body_part_logits", "distance")

# onnxruntime's exceptions have no common base of their own.
_RUN_ERRORS = (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.RuntimeException, ValueError)
_LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)

Device = Literal["auto", "cpu", "cuda"]
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_PROVIDERS: dict[Device, tuple[str, ...]] = {"auto": (_CUDA, _CPU), "cpu": (_CPU,), "cuda": (_CUDA,)}
# TensorFloat-32 keeps 10 bits of each operand: too few for answers as close as 1e-3 to the processor's.
_OPTIONS = {_CUDA: {"use_tf32": "0"}, _CPU: {}}

_WEIGHTS = "model.onnx"
_SPEC = "model.json"

#: Name of the optional file with the labelled training images (``ModelSpec.cases_sha256``).
CASES = "cases.npz"
#: Names of the files that a model folder may have.
MODEL_FILES = (_WEIGHTS, _SPEC, CASES)


@dataclass(frozen=True)
class Prediction:
    """What the network says about a batch of B images.

    The probe is linear in the tokens it pools, so each logit is ``offset`` plus the sum of its ``evidence``.
    """

    logits: npt.NDArray[np.float32]
    """[B], uncalibrated."""
    features: npt.NDArray[np.float32]
    """[B, D], what the probe is linear in."""
    evidence: npt.NDArray[np.float32]
    """[B, h, w], each patch's share of the logit."""
    offset: npt.NDArray[np.float32]
    """[B], the share that belongs to no patch."""
    body_part_logits: npt.NDArray[np.float32]
    """[B, P], in the order of ``ModelSpec.body_parts``."""
    distance: npt.NDArray[np.float32]
    """[B], distance to the training images (``ModelSpec.out_of_distribution``)."""


@dataclass(frozen=True)
class ModelFolder:
    """The verified content of a model folder."""

    spec: ModelSpec
    """model.json."""
    weights: bytes
    """model.onnx."""
    fingerprint: str
    """sha256 of model.json."""


class Model:
    """A verified model folder, ready to predict.

    Parameters
    ----------
    folder
        Folder with ``model.onnx`` and ``model.json``, or a store of several, whose current version is used
        (:mod:`monai_bone_ssl.model_store`).
    device
        ``auto``: a GPU where onnxruntime-gpu is installed and finds one, else the processor. ``cpu`` or
        ``cuda``: that one. Only the processor's answers are the same bit for bit in every front; what
        a GPU answers was not measured.
    threads
        Processor threads of one prediction; 0 for one a core. Several threads may call :meth:`predict` at
        once. The logits do not depend on it.

    Raises
    ------
    ModelError
        If a file is missing, the weights are not those of model.json, or model.json has an unknown key,
        a missing key or a value of the wrong kind; or the device is not there.
    """

    def __init__(self, folder: Path, device: Device = "auto", threads: int = 0) -> None:
        content = read_model_folder(folder)
        self.spec = content.spec
        #: Changes with any change of the model: weights, operating points, wording of the target.
        self.fingerprint = content.fingerprint
        self._session = _session(content.weights, current_folder(folder) / _WEIGHTS, device, threads)

    def predict(self, batch: npt.NDArray[np.float32]) -> Prediction:
        """Run the network.

        Parameters
        ----------
        batch
            Preprocessed images, float32 [B, 1, H, W] in [0, 1], sides multiples of the patch size.

        Raises
        ------
        ModelError
            If onnxruntime cannot run the batch (wrong shape, out of memory), or a value is not finite.
        """
        try:
            outputs = self._session.run(OUTPUT_NAMES, {"image": batch})
        except _RUN_ERRORS as error:
            text = f"onnxruntime could not run a batch of shape {batch.shape}: {str(error).splitlines()[0]}"
            raise ModelError(ReasonCode.INFERENCE_FAILED, text) from error
        if not all(np.isfinite(output).all() for output in outputs):
            raise ModelError(ReasonCode.INFERENCE_FAILED, "the network answered with non-finite values")
        prediction = Prediction(*outputs)
        parts = (len(batch), len(self.spec.body_parts))
        if prediction.body_part_logits.shape != parts:
            text = f"body_part_logits are {prediction.body_part_logits.shape}, {_SPEC} expects {parts}"
            raise ModelError(ReasonCode.INFERENCE_FAILED, text)
        return prediction

    def probability(self, logit: float) -> float:
        """Calibrated probability of one logit."""
        return self.spec.calibration.probability(logit)


def read_model_folder(folder: Path) -> ModelFolder:
    """Read and verify a model folder, or the current version of a store.

    Raises
    ------
    ModelError
        As :class:`Model` does.
    """
    folder = current_folder(folder)
    text = _read(folder / _SPEC)
    weights = _read(folder / _WEIGHTS)
    spec = _decode(text, folder)
    _check_hash(folder / _WEIGHTS, weights, spec.weights_sha256)
    return ModelFolder(spec, weights, hashlib.sha256(text).hexdigest())


def read_cases(folder: Path) -> bytes | None:
    """Read and verify cases.npz of a model folder, or of the current version of a store.

    Returns
    -------
    None where the model has none.

    Raises
    ------
    ModelError
        If model.json names it and it is missing or altered.
    """
    folder = current_folder(folder)
    expected = read_spec(folder).cases_sha256
    if expected is None:
        return None
    content = _read(folder / CASES)
    _check_hash(folder / CASES, content, expected)
    return content


def read_spec(folder: Path) -> ModelSpec:
    """Read model.json alone, of a model folder or of the current version of a store.

    Raises
    ------
    ModelError
        If it is missing or not what this version understands.
    """
    folder = current_folder(folder)
    return _decode(_read(folder / _SPEC), folder)


def write_model_folder(
    folder: Path, weights: bytes, spec: ModelSpec, cases: bytes | None = None
) -> ModelSpec:
    """Write model.onnx, cases.npz where there is one, and then model.json with the hashes of both.

    Raises
    ------
    ReportError
        ``WRITE_FAILED``.
    """
    spec = msgspec.structs.replace(
        spec,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        cases_sha256=None if cases is None else hashlib.sha256(cases).hexdigest(),
    )
    write_atomically(folder / _WEIGHTS, weights)
    if cases is not None:
        write_atomically(folder / CASES, cases)
    write_atomically(folder / _SPEC, msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n")
    return spec


def _check_hash(path: Path, content: bytes, expected: str) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != expected:
        text = f"{path}: sha256 is {sha256}, {_SPEC} expects {expected}"
        raise ModelError(ReasonCode.INVALID_MODEL, text)


def _decode(text: bytes, folder: Path) -> ModelSpec:
    try:
        return msgspec.json.decode(text, type=ModelSpec)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(ReasonCode.INVALID_MODEL, f"{folder / _SPEC}: {error}") from error


def default_model_folder() -> Path:
    """Folder of the model that comes with the package: inside a wheel, or in a checkout's bundle."""
    package = Path(__file__).parent
    shipped = package / "default_model"
    return shipped if shipped.is_dir() else package.parent / "bundle" / "models"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}); a model folder has {_WEIGHTS} and {_SPEC}"
        raise ModelError(ReasonCode.INVALID_MODEL, text) from error


def _session(weights: bytes, path: Path, device: Device, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only; they reach us as exceptions
    # Weights are stored as int8 per channel. Without this, onnxruntime keeps the DequantizeLinear nodes and
    # repeats them in every run; with it, they are folded once at load.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    wanted = [provider for provider in _PROVIDERS[device] if provider in ort.get_available_providers()]
    if not wanted:
        raise ModelError(ReasonCode.INVALID_MODEL, f"{device}: this onnxruntime cannot use it")
    providers = [(provider, _OPTIONS[provider]) for provider in wanted]
    try:
        session = ort.InferenceSession(weights, options, providers=providers)
    except _LOAD_ERRORS as error:
        text = f"{path}: onnxruntime cannot load it: {str(error).splitlines()[0]}"
        raise ModelError(ReasonCode.INVALID_MODEL, text) from error
    if device == "cuda" and _CUDA not in session.get_providers():  # it falls back to the processor in silence
        raise ModelError(ReasonCode.INVALID_MODEL, f"{device}: onnxruntime finds no such device")
    _check_names(path, "inputs", session.get_inputs(), ("image",))
    _check_names(path, "outputs", session.get_outputs(), OUTPUT_NAMES)
    return session


def _check_names(path: Path, what: str, found: Sequence[ort.NodeArg], expected: tuple[str, ...]) -> None:
    names = tuple(node.name for node in found)
    if sorted(names) != sorted(expected):
        raise ModelError(ReasonCode.INVALID_MODEL, f"{path}: {what} are {names}, expected {expected}")
