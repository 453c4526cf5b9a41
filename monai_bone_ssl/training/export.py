"""The fitted network to a model folder: model.onnx with int8 weights, and model.json."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.model import OUTPUT_NAMES
from monai_bone_ssl.model_spec import ModelSpec
from monai_bone_ssl.training.network import ProbedViT

__all__ = ["store_compactly", "to_onnx", "write_model"]

# Tensors below this many values stay float32: they would save nothing.
_SMALL = 16_384


def to_onnx(network: ProbedViT, height: int, width: int) -> ModelProto:
    """Export in float32 with any batch size and any patch grid.

    Parameters
    ----------
    network
        In evaluation mode.
    height, width
        Size in pixels of the example that is traced.
    """
    dynamic = torch.export.Dim.DYNAMIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program = torch.onnx.export(
            network,
            (torch.rand(2, 1, height, width),),
            dynamo=True,
            dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},),
            input_names=["image"],
            output_names=list(OUTPUT_NAMES),
            verbose=False,
        )
        if program is None:
            raise ModelError(ReasonCode.INVALID_MODEL, "torch.onnx.export returned no program")
        program.save(path)
        return onnx.load(path)


def store_compactly(model: ModelProto) -> ModelProto:
    """Store each large matrix product's weight as int8 with one scale per output channel, position
    embedding and whitening as float16.

    All were rounded to these values before (``round_to_storage``, ``fit_novelty``), so nothing changes.
    onnxruntime undoes both once, at load. The patch embedding stays float32.
    """
    matrices = {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    stored: list[TensorProto] = []
    restoring: list[NodeProto] = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _SMALL or tensor.name in kernels:
            stored.append(tensor)
        elif tensor.name in matrices and not _fits_float16(values):
            _store_int8(tensor.name, values, stored, restoring)
        else:
            _store_float16(tensor.name, values, stored, restoring)
    del model.graph.initializer[:]
    model.graph.initializer.extend(stored)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*restoring, *nodes])
    onnx.checker.check_model(model)
    return model


def _fits_float16(values: npt.NDArray[np.float32]) -> bool:
    return bool((values.astype(np.float16) == values).all())


def _store_int8(
    name: str, values: npt.NDArray[np.float32], stored: list[TensorProto], restoring: list[NodeProto]
) -> None:
    scale = np.maximum(np.abs(values).max(axis=0), 1e-12).astype(np.float32) / np.float32(127)
    levels = np.round(values / scale).astype(np.int8)
    stored.append(numpy_helper.from_array(levels, f"{name}_int8"))
    stored.append(numpy_helper.from_array(scale, f"{name}_scale"))
    restoring.append(helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name], axis=1))


def _store_float16(
    name: str, values: npt.NDArray[np.float32], stored: list[TensorProto], restoring: list[NodeProto]
) -> None:
    stored.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
    restoring.append(helper.make_node("Cast", [f"{name}_float16"], [name], to=TensorProto.FLOAT))


def write_model(network: ModelProto, spec: ModelSpec, folder: Path) -> ModelSpec:
    """Write model.onnx and then model.json, with the weights' hash filled in.

    Raises
    ------
    ReportError
        If the folder cannot be written.
    """
    weights = network.SerializeToString(deterministic=True)
    spec = msgspec.structs.replace(spec, weights_sha256=hashlib.sha256(weights).hexdigest())
    write_atomically(folder / "model.onnx", weights)
    write_atomically(folder / "model.json", msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n")
    return spec
