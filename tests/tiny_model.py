"""A model folder of a few hundred bytes that a test steers by what it draws.

The network does what the real one promises, with numbers that can be worked out by hand:

- contribution of a patch = its mean grey level * ``GAIN`` / number of patches; offset = ``OFFSET``;
  logit = sum of the contributions + offset. So ``draw(0.5)`` has a probability of about one half.
- score of a patch = (its mean grey level - ``KNEE``) * ``STEEPNESS``. So the brightest patch of an image by
  ``draw(..., peak=...)`` is a certain region, and an image without one has no region.
- body part: the corner patches. Top left lit is a hand, top right a leg, bottom left a hip, bottom right a
  shoulder; with none lit, or two, the network is unsure.
- distance: the mean difference between neighbouring pixels of a row, times 10.

:func:`draw` makes images that say so.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from monai_bone_ssl.body_parts import FRACATLAS_PARTS
from monai_bone_ssl.findings import FRACTURE, CodedConcept, OperatingPoints
from monai_bone_ssl.model.preprocessing import PreprocessSpec
from monai_bone_ssl.model.spec import (
    MODEL_SCHEMA_VERSION,
    BodyPartSpec,
    Figure,
    ModelSpec,
    OutOfDistribution,
    PatchProbeSpec,
    TrainingData,
)
from monai_bone_ssl.stats.calibration import Calibration

PATCH = 8
LONG_SIDE = 64
GAIN = 16.0
OFFSET = -0.4 * GAIN  # what ``draw`` calls bright is 0.8 to the network
STEEPNESS = 25.0
KNEE = 0.92  # between a lit corner and the peak of ``draw``
PARTS = ("hand", "leg", "hip", "shoulder")
COVERED = ("hand", "leg")
POINTS = OperatingPoints(high_sensitivity=0.3, high_specificity=0.7)
#: Operating points of patches, probabilities.
POSSIBLE, CERTAIN = 0.5, 0.8
#: Of outputs, by name.
Shapes = dict[str, list[Any]]
#: Largest accepted distance: a fine checkerboard has 10, a picture by ``draw`` less than 1.
LIMIT = 2.0


def draw(
    bright: float, part: str | None = "hand", *, peak: tuple[int, int] | None = None, seed: int = 0
) -> NDArray[np.uint16]:
    """[64, 64] 12-bit image of 8 x 8 patches.

    Parameters
    ----------
    bright
        Share of the rows that is bright: 0.2 ends up negative, 0.5 indeterminate, 0.8 positive.
    part
        Whose corner is lit; None for none of them.
    peak
        Row and column of the patch that is brightest.
    seed
        Two seeds give two images with the same answer.
    """
    image = np.random.default_rng(seed).integers(0, 60, (LONG_SIDE, LONG_SIDE))
    image[round((1 - bright) * LONG_SIDE) :] += 3300
    for corner, (row, column) in zip(
        PARTS, ((0, 0), (0, -PATCH), (-PATCH, 0), (-PATCH, -PATCH)), strict=True
    ):
        rows, columns = slice(row, row + PATCH or None), slice(column, column + PATCH or None)
        image[rows, columns] = 3600 if corner == part else 0
    if peak is not None:
        row, column = (PATCH * index for index in peak)
        image[row : row + PATCH, column : column + PATCH] = 4095
    image[LONG_SIDE // 2, LONG_SIDE // 2] = 4095  # so that the stretch is the same for all
    return image.astype(np.uint16)


def checkerboard() -> NDArray[np.uint16]:
    """[64, 64] 12-bit image of single pixels, white and black in turn: unlike anything."""
    board = np.indices((LONG_SIDE, LONG_SIDE)).sum(axis=0) % 2
    ramp = np.linspace(0, 40, LONG_SIDE).astype(int)
    return (board * 4000 + ramp[None]).astype(np.uint16)


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """A node of a network, its inputs apart by spaces."""
    return helper.make_node(op, inputs.split(), [output], **attributes)


def constant(name: str, values: Any, dtype: Any = np.float32) -> TensorProto:
    """A tensor of a network."""
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def model_proto(
    name: str, image: list[Any], nodes: list[onnx.NodeProto], constants: list[TensorProto], shapes: Shapes
) -> ModelProto:
    """A checked network from images float32 of a shape to outputs of others."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape) for output, shape in shapes.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def network() -> ModelProto:
    """The network, any batch size and patch grid; float32, opset 17."""
    nodes = [
        node("AveragePool", "image", "patches", kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH]),
        node("Squeeze", "patches channel", "grid"),
        node("Shape", "grid", "height_width", start=1),
        node("ReduceProd", "height_width", "count", keepdims=0),
        node("Cast", "count", "patch_count", to=TensorProto.FLOAT),
        node("Div", "gain patch_count", "share"),
        node("Mul", "grid share", "contribution"),
        node("ReduceSum", "contribution spatial", "sum", keepdims=0),
        node("Sub", "grid knee", "above_knee"),
        node("Mul", "above_knee steepness", "patch_scores"),
        node("Mul", "sum zero", "nothing"),
        node("Add", "nothing constant_share", "offset"),
        node("Add", "sum offset", "logits"),
        node("Gather", "grid ends", "top_bottom", axis=1),
        node("Gather", "top_bottom ends", "corners", axis=2),
        node("Flatten", "corners", "flat", axis=1),
        node("Mul", "flat ten", "body_part_logits"),
        node("Slice", "image one last width_axis", "right"),
        node("Slice", "image start minus_one width_axis", "left"),
        node("Sub", "right left", "steps"),
        node("Abs", "steps", "contrast"),
        node("ReduceMean", "contrast", "mean_contrast", axes=[1, 2, 3], keepdims=0),
        node("Mul", "mean_contrast ten", "distance"),
        node("Flatten", "grid", "all", axis=1),
        node("ReduceMean", "all", "mean", axes=[1], keepdims=1),
        node("Unsqueeze", "distance channel", "distance_column"),
        node("Concat", "mean distance_column", "features", axis=1),
    ]
    constants = [
        constant("channel", [1], np.int64),
        constant("spatial", [1, 2], np.int64),
        constant("ends", [0, -1], np.int64),
        constant("one", [1], np.int64),
        constant("start", [0], np.int64),
        constant("last", [2**31 - 1], np.int64),
        constant("minus_one", [-1], np.int64),
        constant("width_axis", [3], np.int64),
        constant("gain", GAIN),
        constant("knee", KNEE),
        constant("steepness", STEEPNESS),
        constant("constant_share", OFFSET),
        constant("zero", 0.0),
        constant("ten", 10.0),
    ]
    shapes: Shapes = {
        "logits": ["B"],
        "features": ["B", 2],
        "patch_scores": ["B", "h", "w"],
        "contribution": ["B", "h", "w"],
        "offset": ["B"],
        "body_part_logits": ["B", len(PARTS)],
        "distance": ["B"],
    }
    return model_proto("tiny", ["B", 1, "H", "W"], nodes, constants, shapes)


def spec(weights: bytes) -> ModelSpec:
    """model.json of the tiny network."""
    return ModelSpec(
        schema_version=MODEL_SCHEMA_VERSION,
        name="tiny",
        version="0.1.0",
        architecture="patch means",
        preprocessing=PreprocessSpec(LONG_SIDE, PATCH, 0.0, 100.0),
        target=FRACTURE,
        body_parts=tuple(map(_body_part, PARTS)),
        calibration=Calibration(slope=1.0, intercept=0.0),
        out_of_distribution=OutOfDistribution(
            distance=LIMIT, body_part_confidence=0.8, conflict_confidence=0.95, method="mean contrast"
        ),
        patch_probe=PatchProbeSpec("outlines", Calibration(slope=1.0, intercept=0.0), POSSIBLE, CERTAIN),
        training_data=(
            TrainingData(name="none", source="none", licence="none", n=0, n_positive=0, n_groups=0),
        ),
        figures={"auroc": Figure(value=0.5, ci_low=0.4, ci_high=0.6)},
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        libraries={"onnx": onnx.__version__},
    )


def _body_part(name: str) -> BodyPartSpec:
    part = FRACATLAS_PARTS[name]
    return BodyPartSpec(
        name=name,
        concept=CodedConcept(part.concept.value, part.concept.scheme_designator, part.concept.meaning),
        terms=part.terms,
        operating_points=POINTS if name in COVERED else None,
        not_covered=None if name in COVERED else f"too few {name} fractures to measure",
    )


def write_tiny_model(folder: Path) -> Path:
    """Write model.onnx and model.json into a folder, and return it."""
    return write_model(folder, network())


def write_model(folder: Path, model: ModelProto) -> Path:
    """Write a network with the tiny model's model.json into a folder, and return it."""
    weights = model.SerializeToString(deterministic=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(weights)
    (folder / "model.json").write_bytes(msgspec.json.encode(spec(weights)))
    return folder
