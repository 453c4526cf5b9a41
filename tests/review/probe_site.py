"""A model with a linear probe as ``bone-ssl fit`` exports it, and a site whose readers know what it does not.

Features are the 64 patch means of an 8 x 8 grid; the exported probe takes all of them alike. At the site the
condition is a bright patch in one place, which that probe hardly sees.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dicom_factory import make_radiograph
from numpy.typing import NDArray
from tiny_model import LONG_SIDE, OFFSET, PARTS, PATCH, Shapes, constant, draw, model_proto, node, write_model

from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import analyse
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.verdict import Reading
from monai_bone_ssl.review.worklist import Worklist, worklist_from_results

from .reviews import ANNA

GRID = LONG_SIDE // PATCH
FEATURES = GRID * GRID
#: Row and column of the patch that makes an image abnormal.
PLACE = (3, 4)


def write_probe_model(folder: Path) -> Path:
    """Write a model folder with a probe and, as torch's exporter folds one, a copy of its weight."""
    weight = np.full((1, FEATURES), 16.0 / FEATURES, np.float32)
    nodes = [
        node("AveragePool", "image", "patches", kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH]),
        node("Squeeze", "patches channel", "grid"),
        node("Flatten", "grid", "features", axis=1),
        node("Gemm", "features probe.weight probe.bias", "column", transB=1),
        node("Squeeze", "column channel", "logits"),
        node("Reshape", "select_1 square", "weights"),
        node("Mul", "grid weights", "contribution"),
        node("Sub", "grid ten", "patch_scores"),
        node("Shape", "logits", "count"),
        node("Expand", "probe.bias count", "offset"),
        node("Gather", "grid ends", "top_bottom", axis=1),
        node("Gather", "top_bottom ends", "corners", axis=2),
        node("Flatten", "corners", "flat", axis=1),
        node("Mul", "flat ten", "body_part_logits"),
        node("ReduceMean", "flat", "distance", axes=[1], keepdims=0),
    ]
    constants = [
        constant("channel", [1], np.int64),
        constant("square", [1, GRID, GRID], np.int64),
        constant("ends", [0, -1], np.int64),
        constant("ten", 10.0),
        constant("probe.weight", weight),
        constant("probe.bias", [OFFSET]),
        constant("select_1", weight[0]),
    ]
    shapes: Shapes = {
        "logits": ["B"], "features": ["B", FEATURES], "patch_scores": ["B", GRID, GRID],
        "contribution": ["B", GRID, GRID], "offset": ["B"],
        "body_part_logits": ["B", len(PARTS)], "distance": ["B"],
    }  # fmt: skip
    return write_model(folder, model_proto("probe", ["B", 1, LONG_SIDE, LONG_SIDE], nodes, constants, shapes))


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
    with ReviewSession.open(root / "review", ANNA, worklist) as session:
        for case in worklist.cases:
            reading = Reading.ABNORMAL if labels[case.path.stem] else Reading.NORMAL
            session.save(session.verdict(case, reading, seconds=1))
    return worklist
