"""From a model folder back to the torch network that it was exported from.

The repository and the wheel hold the weights once, in model.onnx. MONAI's engines, TorchScript and further
training need a torch network: this module gives them the same one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import ModelProto, numpy_helper

from monai_bone_ssl.errors import BoneSSLError, ModelError, ReasonCode
from monai_bone_ssl.model.folder import read_model_folder
from monai_bone_ssl.training.networks.backbone import create_backbone
from monai_bone_ssl.training.networks.export import (
    ARCHITECTURE,
    HIGHEST_PATCHES,
    POOLED_BLOCKS,
    TRANSPOSED,
)
from monai_bone_ssl.training.networks.network import ProbedViT, TokenPooling

__all__ = ["load_network"]

FloatArray = npt.NDArray[np.float32]


def load_network(folder: Path) -> ProbedViT:
    """Read the network of a model folder.

    Parameters
    ----------
    folder
        Model folder with ``model.onnx`` and ``model.json``.

    Returns
    -------
    Network in evaluation mode, without gradients. The outputs are the fields of a
    :class:`~monai_bone_ssl.model.inference.Prediction`.

    Raises
    ------
    ModelError
        If a file is missing, the weights are not those of model.json, or model.onnx is not a network that
        :func:`~monai_bone_ssl.training.networks.export.to_onnx` wrote.
    """
    weights = read_model_folder(folder).weights
    try:
        model = onnx.load_model_from_string(weights)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        blocks, highest = int(properties[POOLED_BLOCKS]), int(properties[HIGHEST_PATCHES])
        network = _build(properties[ARCHITECTURE], blocks, highest, _state(model))
    except (DecodeError, KeyError, ValueError, RuntimeError, BoneSSLError) as error:
        reason = str(error).splitlines()[0]
        text = f"{folder / 'model.onnx'}: expected a network of this package's export ({reason})"
        raise ModelError(ReasonCode.INVALID_MODEL, text) from error
    return network.eval().requires_grad_(False)


def _build(architecture: str, blocks: int, highest: int, state: dict[str, FloatArray]) -> ProbedViT:
    pooling = TokenPooling(create_backbone(architecture), blocks)
    network = ProbedViT(
        pooling,
        hidden=len(state["patch_probe.score.weight"][0]),
        highest=highest,
        body_parts=len(state["body_part.bias"]),
        components=state["distance.directions"].shape[1],
    )
    # Only the torch network's tensors are taken: the graph also has constants. A missing tensor is an error.
    network.load_state_dict({name: torch.from_numpy(state[name]) for name in network.state_dict()})
    return network


def _state(model: ModelProto) -> dict[str, FloatArray]:
    """Every stored tensor as float32, by torch name."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    restored = dict(stored)
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            levels, scale = (stored[name] for name in node.input)
            restored[node.output[0]] = levels.astype(np.float32) * scale
        elif node.op_type == "Cast" and node.input[0] in stored:
            restored[node.output[0]] = stored[node.input[0]].astype(np.float32)
    return {
        name.removesuffix(TRANSPOSED): np.array(values.T if name.endswith(TRANSPOSED) else values)
        for name, values in restored.items()
    }
