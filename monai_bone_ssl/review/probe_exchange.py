"""The probe inside model.onnx: read, and exchanged for another one; every other tensor stays bit for bit.

Needs the onnx package (extra ``adapt``).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.review.site_probe import LinearProbe

__all__ = ["exchange_probe", "read_probe"]

# Names that the exporter gives the probe's tensors: the torch network's own.
_WEIGHT, _BIAS = "probe.weight", "probe.bias"


def read_probe(weights: bytes) -> LinearProbe:
    """The linear probe of model.onnx.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where it has none.
    """
    tensors = {tensor.name: tensor for tensor in onnx.load_from_string(weights).graph.initializer}
    if _WEIGHT not in tensors or _BIAS not in tensors:
        text = f"model.onnx has no {_WEIGHT} and {_BIAS}: expected a model written by bone-ssl fit"
        raise ModelError(ReasonCode.INVALID_MODEL, text)
    weight = numpy_helper.to_array(tensors[_WEIGHT]).astype(np.float64)
    return LinearProbe(weight.ravel(), float(numpy_helper.to_array(tensors[_BIAS]).ravel()[0]))


def exchange_probe(weights: bytes, new: LinearProbe) -> bytes:
    """model.onnx with another probe.

    The exporter folds copies of the weight into the graph, such as the one that the evidence is made with:
    every tensor with exactly the weight's values is exchanged.
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
