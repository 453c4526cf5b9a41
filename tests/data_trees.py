"""Labelled data of every kind, small, as tests write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.data import load_dataset


def write_image(path: Path, pixels: NDArray[Any] | None = None) -> Path:
    """Write grey values [H, W], by default a ramp of 4 x 5, as the format that the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.arange(20, dtype=np.uint8).reshape(4, 5)
    Image.fromarray(ramp if pixels is None else pixels).save(path)
    return path


def refusal(path: Path) -> str:
    """What load_dataset says about data that it refuses."""
    with pytest.raises(ConfigError) as caught:
        load_dataset(path)
    assert caught.value.code is ReasonCode.INVALID_DATA
    assert "\n" not in caught.value.text
    return caught.value.text


TRAIN = {
    "train/XR_ELBOW/patient00001/study1_negative": 2,
    "train/XR_HAND/patient00001/study1_positive": 1,
    "train/XR_WRIST/patient00002/study1_positive": 3,
}
VALID = {
    "valid/XR_SHOULDER/patient00003/study1_positive": 2,
    "valid/XR_FINGER/patient00004/study2_negative": 1,
}


def write_mura(
    root: Path, train: dict[str, int] = TRAIN, valid: dict[str, int] = VALID, prefix: str = "MURA-v1.1/"
) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for split, studies in (("train", train), ("valid", valid)):
        paths = [f"{study}/image{i}.png" for study, n in studies.items() for i in range(1, n + 1)]
        for path in paths:
            write_image(root / path)
        (root / f"{split}_image_paths.csv").write_text("".join(f"{prefix}{path}\n" for path in paths))
        lines = [f"{prefix}{study}/,{int(study.endswith('positive'))}\n" for study in studies]
        (root / f"{split}_labeled_studies.csv").write_text("".join(lines))
    return root


FRACATLAS_HEADER = "image_id,part,hardware,fractured,width,height,block,neardup_group"
# Blocks 1-2-3 hang together through near-duplicate groups 10 and 20; block 4 stands alone.
FRACATLAS_ROWS = [
    "a.jpg,hand,0,1,5,4,1,10",
    "b.jpg,leg,1,1,5,4,2,10",
    "c.jpg,mixed,0,0,5,4,2,20",
    "d.jpg,hip,0,0,5,4,3,20",
    "e.jpg,shoulder,0,0,5,4,4,30",
]
BOXES = {"a.jpg": [{"bbox_xywh": [1.0, 0.5, 2.0, 3.0], "polygon": [[1.0, 0.5, 3.0, 0.5, 3.0, 3.5]]}]}


def write_fracatlas(root: Path, rows: list[str] = FRACATLAS_ROWS, boxes: object = BOXES) -> Path:
    root.mkdir(exist_ok=True)
    (root / "labels.csv").write_text("\n".join([FRACATLAS_HEADER, *rows]) + "\n")
    for name in "abcde":
        write_image(root / "images" / f"{name}.jpg")
    if boxes is not None:
        (root / "fracture_boxes.json").write_text(json.dumps(boxes))
    return root


def write_csv(root: Path, text: str) -> Path:
    for name in ("a.png", "b.png", "sub/c.png"):
        write_image(root / name)
    path = root / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path
