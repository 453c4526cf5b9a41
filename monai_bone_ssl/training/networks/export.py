"""The fitted network to a model folder: model.onnx with int8 weights, and model.json.

model.onnx keeps every tensor of the torch network under its torch name, so that
:mod:`~monai_bone_ssl.training.networks.torch_model` turns the file back into that network.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.model.folder import write_model_folder
from monai_bone_ssl.model.inference import OUTPUT_NAMES
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.training.networks.fused_attention import with_fused_attention
from monai_bone_ssl.training.networks.network import ProbedViT

__all__ = ["ARCHITECTURE", "POOLED_BLOCKS", "TRANSPOSED", "store_compactly", "to_onnx", "write_model"]

#: Ends the name of a weight that the graph holds transposed, as the operand of a matrix product.
TRANSPOSED = "_transposed"

#: Keys of ``metadata_props``: timm's name of the backbone, and how many of its last blocks are pooled.
ARCHITECTURE = "timm_architecture"
POOLED_BLOCKS = "pooled_blocks"

# Tensors below this many values stay float32: they would save nothing.
_SMALL = 16_384


def to_onnx(network: ProbedViT, height: int, width: int) -> ModelProto:
    """Export for onnxruntime in float32, with any batch size and any patch grid.

    Parameters
    ----------
    network
        In evaluation mode.
    height, width
        Size in pixels of the example that is traced.

    Returns
    -------
    With each tensor of ``network.state_dict()`` as an initialiser of its name (see :data:`TRANSPOSED`), and
    what else it takes to build the network in ``metadata_props``.
    """
    dynamic = torch.export.Dim.DYNAMIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program = torch.onnx.export(
            with_fused_attention(network),
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
        model = onnx.load(path)
    _forget_origin(model)
    _name_as_in_torch(model, network)
    timm_model: Any = network.pooling.backbone.vit  # torch's stubs take its attributes for modules
    described = {
        ARCHITECTURE: str(timm_model.pretrained_cfg["architecture"]),
        POOLED_BLOCKS: str(network.pooling.blocks),
    }
    helper.set_model_props(model, described)
    return model


def _forget_origin(model: ModelProto) -> None:
    """Remove the exporter's notes: they hold paths of the machine, and would change the hash with it."""
    for noted in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del noted.metadata_props[:]
        noted.doc_string = ""


def _name_as_in_torch(model: ModelProto, network: ProbedViT) -> None:
    """Find each tensor that the exporter renamed by its values, and give it its torch name.

    What it folded away or shares between layers, as some do before training, is added as an initialiser that
    no node uses, so that the file is complete.
    """
    initializers = model.graph.initializer
    named = {tensor.name for tensor in initializers}
    unnamed = {
        _content(numpy_helper.to_array(tensor)): tensor.name
        for tensor in initializers
        if tensor.name in _matrices(model)
    }
    renamed: dict[str, str] = {}
    for name, value in network.state_dict().items():
        if name in named:
            continue
        values = value.numpy()
        found = unnamed.pop(_content(values.T), None) if values.ndim == 2 else None
        if found is None:
            initializers.append(numpy_helper.from_array(values, name))
        else:
            renamed[found] = f"{name}{TRANSPOSED}"
    for tensor in initializers:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def _matrices(model: ModelProto) -> set[str]:
    """Names of the right operands of matrix products."""
    return {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}


def _content(values: npt.NDArray[np.float32]) -> tuple[tuple[int, ...], bytes]:
    return values.shape, values.tobytes()


def store_compactly(model: ModelProto) -> ModelProto:
    """Store each large matrix product's weight as int8 with one scale per output channel, position
    embedding and whitening as float16.

    All were rounded to these values before (``round_to_storage``, ``fit_novelty``), so nothing changes.
    onnxruntime undoes both once, at load. The patch embedding stays float32.
    """
    matrices = _matrices(model)
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


def write_model(network: ModelProto, spec: ModelSpec, folder: Path, cases: bytes | None = None) -> ModelSpec:
    """Write a model folder, with the hashes of its files filled in.

    Parameters
    ----------
    network
        Becomes model.onnx.
    spec
        Becomes model.json.
    folder
        Made where missing.
    cases
        Becomes cases.npz, see :mod:`monai_bone_ssl.model.similar_cases`; None for no such file.

    Raises
    ------
    ReportError
        If the folder cannot be written.
    """
    return write_model_folder(folder, network.SerializeToString(deterministic=True), spec, cases)
