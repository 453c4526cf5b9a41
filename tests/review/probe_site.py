"""A model with a linear probe as ``bone-ssl fit`` exports it, and a site whose readers know what it does not.

Features are the 64 patch means of an 8 x 8 grid; the exported probe takes all of them alike. At the site the
condition is a bright patch in one place, which that probe hardly sees.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from dicom_factory import make_radiograph
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny_model import LONG_SIDE, OFFSET, PARTS, PATCH, draw, spec

from monai_bone_ssl.model import Model
from monai_bone_ssl.pipeline import analyse
from monai_bone_ssl.review.session import Reader, ReviewSession
from monai_bone_ssl.review.verdict import Reading
from monai_bone_ssl.review.worklist import Worklist, worklist_from_results

GRID = LONG_SIDE // PATCH
FEATURES = GRID * GRID
READER = Reader("Doe^Anna", "City Hospital")
#: Row and column of the patch that makes an image abnormal.
PLACE = (3, 4)


def write_probe_model(folder: Path) -> Path:
    """Write a model folder with a probe and, as torch's exporter folds one, a copy of its weight."""
    weight = np.full((1, FEATURES), 16.0 / FEATURES, np.float32)

    def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs.split(), [output], **attributes)

    def constant(name: str, values: Any, dtype: Any = np.int64) -> TensorProto:
        return numpy_helper.from_array(np.asarray(values, dtype), name)

    nodes = [
        node("AveragePool", "image", "patches", kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH]),
        node("Squeeze", "patches channel", "grid"),
        node("Flatten", "grid", "features", axis=1),
        node("Gemm", "features probe.weight probe.bias", "column", transB=1),
        node("Squeeze", "column channel", "logits"),
        node("Reshape", "select_1 square", "weights"),
        node("Mul", "grid weights", "evidence"),
        node("Shape", "logits", "count"),
        node("Expand", "probe.bias count", "offset"),
        node("Gather", "grid ends", "top_bottom", axis=1),
        node("Gather", "top_bottom ends", "corners", axis=2),
        node("Flatten", "corners", "flat", axis=1),
        node("Mul", "flat ten", "body_part_logits"),
        node("ReduceMean", "flat", "distance", axes=[1], keepdims=0),
    ]
    constants = [
        constant("channel", [1]),
        constant("square", [1, GRID, GRID]),
        constant("ends", [0, -1]),
        constant("ten", 10.0, np.float32),
        numpy_helper.from_array(weight, "probe.weight"),
        constant("probe.bias", [OFFSET], np.float32),
        numpy_helper.from_array(weight[0], "select_1"),
    ]
    shapes: dict[str, list[Any]] = {
        "logits": ["B"], "features": ["B", FEATURES], "evidence": ["B", GRID, GRID], "offset": ["B"],
        "body_part_logits": ["B", len(PARTS)], "distance": ["B"],
    }  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 1, LONG_SIDE, LONG_SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    weights = model.SerializeToString(deterministic=True)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(weights)
    written = msgspec.structs.replace(spec(weights), weights_sha256=hashlib.sha256(weights).hexdigest())
    (folder / "model.json").write_bytes(msgspec.json.encode(written))
    return folder


def site_images(folder: Path, n_patients: int) -> dict[str, int]:
    """Two images of each patient, by turns normal and abnormal; returns the truth by file name."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    truth = {}
    for patient in range(n_patients):
        for number in range(2):
            label = (patient + number) % 2
            name = f"p{patient:03d}_{number}"
            make_radiograph(
                folder / f"{name}.dcm",
                _picture(label, rng),
                study_uid=f"1.2.3.{patient + 1}",
                sop_uid=f"1.2.3.{patient + 1}.1.{number + 1}",
                patient_id=f"PAT-{patient:03d}",
            )
            truth[name] = label
    return truth


def _picture(label: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    image = draw(float(rng.uniform(0.3, 0.5)), "hand", seed=int(rng.integers(1 << 30))).astype(float)
    row, column = (PATCH * index for index in PLACE)
    level = rng.normal(2600 if label else 1200, 500)
    image[row : row + PATCH, column : column + PATCH] = np.clip(level, 0, 4000)
    return image.astype(np.uint16)


def review(root: Path, labels: dict[str, int], model: Model) -> Worklist:
    """Analyse root/in into root/out and read it as ``labels`` say, into root/review."""
    analyse([root / "in"], root / "out", model)
    worklist = worklist_from_results(root / "out", model.spec)
    with ReviewSession.open(root / "review", READER, worklist) as session:
        for case in worklist.cases:
            reading = Reading.ABNORMAL if labels[case.path.stem] else Reading.NORMAL
            session.save(session.verdict(case, reading, seconds=1))
    return worklist
