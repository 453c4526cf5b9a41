"""From the fitted network to a model folder: model.onnx with int8 weights, and model.json.

model.onnx keeps every tensor of the torch network under its torch name, so that
:mod:`~monai_bone_ssl.training.networks.torch_model` turns the file back into that network.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from timm.layers.attention import Attention
from torch import Tensor, nn

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.model.folder import write_model_folder
from monai_bone_ssl.model.inference import OUTPUT_NAMES
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.training.networks.network import ProbedViT

__all__ = [
    "ARCHITECTURE",
    "HIGHEST_PATCHES",
    "POOLED_BLOCKS",
    "TRANSPOSED",
    "store_compactly",
    "to_onnx",
    "write_model",
]

#: Ends the name of a weight that the graph holds transposed, as the operand of a matrix product.
TRANSPOSED = "_transposed"

#: Keys of ``metadata_props``: timm's name of the backbone, how many of its last blocks are pooled, and how
#: many of the highest patch scores are averaged.
ARCHITECTURE = "timm_architecture"
POOLED_BLOCKS = "pooled_blocks"
HIGHEST_PATCHES = "highest_patches"

# Tensors below this many values stay float32: they would save nothing.
_SMALL = 16_384


class _FusedAttention(nn.Module):
    """Self-attention with onnxruntime's ``com.microsoft.MultiHeadAttention``; it can only be exported.

    Written out, attention takes four passes over [heads, N, N] numbers. The operator works block by block
    and never holds them.

    Parameters
    ----------
    attention
        Attention of a timm block; its weights are shared, under the same names.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        self.qkv = attention.qkv
        self.proj = attention.proj

    def forward(self, x: Tensor, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        """Tokens [B, N, C] to tokens [B, N, C]; timm's blocks know the other two parameters and omit them."""
        if attn_mask is not None or is_causal:
            raise ValueError("every token attends to every token")
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        attended = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            (query, key, value),
            {"num_heads": self.heads},
            dtype=query.dtype,
            shape=query.shape,
            version=1,
        )
        projected: Tensor = self.proj(attended)
        return projected


def _with_fused_attention(network: nn.Module) -> nn.Module:
    """A copy of a network in which the operator replaces each attention of timm that it can compute."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        attention = getattr(module, "attn", None)
        if isinstance(attention, Attention) and _is_plain(attention):
            module.attn = _FusedAttention(attention)
    return network


def _is_plain(attention: Attention) -> bool:
    """Whether an attention has projections and softmax alone: no norm and no gate, as some networks have."""
    extras = (getattr(attention, name, None) for name in ("q_norm", "k_norm", "norm", "gate"))
    return all(extra is None or isinstance(extra, nn.Identity) for extra in extras)


def to_onnx(network: ProbedViT, height: int, width: int) -> ModelProto:
    """Export for onnxruntime in float32, with any batch size and any patch grid.

    Parameters
    ----------
    network
        Network in evaluation mode.
    height, width
        Size in pixels of the example image that the exporter traces.

    Returns
    -------
    Model with each tensor of ``network.state_dict()`` as an initialiser of its name (see :data:`TRANSPOSED`);
    ``metadata_props`` hold what else is needed to build the network.
    """
    dynamic = torch.export.Dim.DYNAMIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program = torch.onnx.export(
            _with_fused_attention(network),
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
        HIGHEST_PATCHES: str(network.patch_probe.highest),
    }
    helper.set_model_props(model, described)
    return model


def _forget_origin(model: ModelProto) -> None:
    """Remove the exporter's notes: they hold paths of the machine, and would change the hash with it."""
    for element in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del element.metadata_props[:]
        element.doc_string = ""


def _name_as_in_torch(model: ModelProto, network: ProbedViT) -> None:
    """Recognise each tensor that the exporter renamed by its values, and give it its torch name.

    Tensors that the exporter folded away, or stores once for several layers (equal norms of a network before
    its training), are added as initialisers that no node uses, so that the file is complete.
    """
    initializers = model.graph.initializer
    present = {tensor.name for tensor in initializers}
    matrices = _matrices(model)
    exporter_names = {
        _content(numpy_helper.to_array(tensor)): tensor.name
        for tensor in initializers
        if tensor.name in matrices
    }
    new_names: dict[str, str] = {}
    for name, tensor in network.state_dict().items():
        if name in present:
            continue
        values = tensor.numpy()
        old_name = exporter_names.pop(_content(values.T), None) if values.ndim == 2 else None
        if old_name is None:
            initializers.append(numpy_helper.from_array(values, name))
        else:
            new_names[old_name] = f"{name}{TRANSPOSED}"
    for initializer in initializers:
        initializer.name = new_names.get(initializer.name, initializer.name)
    for node in model.graph.node:
        node.input[:] = [new_names.get(name, name) for name in node.input]


def _matrices(model: ModelProto) -> set[str]:
    """Names of the right operands of matrix products."""
    return {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}


def _content(values: npt.NDArray[np.float32]) -> tuple[tuple[int, ...], bytes]:
    return values.shape, values.tobytes()


def store_compactly(model: ModelProto) -> ModelProto:
    """Store the large weights of matrix products as int8, position embedding and whitening as float16.

    A matrix has one scale for each output channel. All were rounded to these values before
    (``round_to_storage``, ``fit_novelty``), so the model's answers stay the same. onnxruntime turns them back
    into float32 once, when it loads the file. The patch embedding stays float32.
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
        Content of model.onnx.
    spec
        Content of model.json; the hashes in it are replaced.
    folder
        Model folder; created if it does not exist.
    cases
        Content of cases.npz, see :mod:`monai_bone_ssl.model.similar_cases`; None for no such file.

    Returns
    -------
    Content of model.json as written.

    Raises
    ------
    ReportError
        If the folder cannot be written.
    """
    return write_model_folder(folder, network.SerializeToString(deterministic=True), spec, cases)
