"""A model's network, run by onnxruntime: preprocessed images to logits, features and patch scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.model.folder import WEIGHTS, current_folder, read_model_folder

__all__ = ["OUTPUT_NAMES", "Device", "Model", "Prediction"]

#: Outputs of model.onnx, in the order of :class:`Prediction`.
OUTPUT_NAMES = (
    "logits",
    "features",
    "patch_scores",
    "contribution",
    "offset",
    "body_part_logits",
    "distance",
)

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
# TensorFloat-32 keeps 10 bits of each operand: too few for logits within 1e-3 of the processor's.
_OPTIONS = {_CUDA: {"use_tf32": "0"}, _CPU: {}}


@dataclass(frozen=True)
class Prediction:
    """Outputs of the network for a batch of B images.

    The probe is linear in the features, and they in the patches that own them: each logit is the offset plus
    the sum of the contributions.
    """

    logits: npt.NDArray[np.float32]
    """Logits of the target [B], before calibration."""
    features: npt.NDArray[np.float32]
    """Features [B, D], which the probe is linear in; the last is the mean of the highest patch scores."""
    patch_scores: npt.NDArray[np.float32]
    """Score of each patch, from that patch's tokens alone [B, h, w], in logit before calibration."""
    contribution: npt.NDArray[np.float32]
    """Contribution of each patch to the logit [B, h, w]."""
    offset: npt.NDArray[np.float32]
    """Part of the logit that belongs to no patch [B]."""
    body_part_logits: npt.NDArray[np.float32]
    """Logits of the body parts [B, P], in the order of ``ModelSpec.body_parts``."""
    distance: npt.NDArray[np.float32]
    """Distance to the training images [B], which ``ModelSpec.out_of_distribution`` limits."""


class Model:
    """A verified model folder, ready to predict.

    Parameters
    ----------
    folder
        Model folder, or a store of several, whose current version is used.
    device
        ``cpu``, ``cuda``, or ``auto``: a GPU where onnxruntime-gpu is installed and finds one, else the
        processor. Only a processor's answers are the same bit for bit in every front on one machine; another
        processor's logits differ by up to 1e-4, and a GPU's were not measured.
    threads
        Number of processor threads of one prediction, 0 for one a core; the logits do not depend on the
        number. Several threads may call :meth:`predict` at once.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` as :func:`~monai_bone_ssl.model.folder.read_model_folder` says, or where
        onnxruntime cannot load the network, or finds no such device.
    """

    def __init__(self, folder: Path, device: Device = "auto", threads: int = 0) -> None:
        content = read_model_folder(folder)
        self.spec = content.spec
        self.fingerprint = content.fingerprint
        self._session = _session(content.weights, current_folder(folder) / WEIGHTS, device, threads)

    def predict(self, batch: npt.NDArray[np.float32]) -> Prediction:
        """Run the network.

        Parameters
        ----------
        batch
            Preprocessed images [B, 1, H, W] in [0, 1], sides multiples of the patch size.

        Raises
        ------
        ModelError
            ``INFERENCE_FAILED`` where onnxruntime cannot run the batch (wrong shape, out of memory), or a
            value is not finite.
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
            text = f"body_part_logits are {prediction.body_part_logits.shape}, model.json expects {parts}"
            raise ModelError(ReasonCode.INFERENCE_FAILED, text)
        return prediction


def _session(weights: bytes, path: Path, device: Device, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only, which come as exceptions too
    # Weights are stored as int8 per channel. Without this, onnxruntime keeps the DequantizeLinear nodes and
    # repeats them in every run; with it, they are folded once at load.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    usable = [provider for provider in _PROVIDERS[device] if provider in ort.get_available_providers()]
    if not usable:
        raise ModelError(ReasonCode.INVALID_MODEL, f"{device}: this onnxruntime cannot use it")
    providers = [(provider, _OPTIONS[provider]) for provider in usable]
    try:
        session = ort.InferenceSession(weights, options, providers=providers)
    except _LOAD_ERRORS as error:
        text = f"{path}: onnxruntime cannot load it: {str(error).splitlines()[0]}"
        raise ModelError(ReasonCode.INVALID_MODEL, text) from error
    if device == "cuda" and _CUDA not in session.get_providers():  # onnxruntime took the processor instead
        raise ModelError(ReasonCode.INVALID_MODEL, f"{device}: onnxruntime finds no such device")
    _check_names(path, "inputs", session.get_inputs(), ("image",))
    _check_names(path, "outputs", session.get_outputs(), OUTPUT_NAMES)
    return session


def _check_names(path: Path, what: str, found: Sequence[ort.NodeArg], expected: tuple[str, ...]) -> None:
    names = tuple(node.name for node in found)
    if sorted(names) != sorted(expected):
        raise ModelError(ReasonCode.INVALID_MODEL, f"{path}: {what} are {names}, expected {expected}")
