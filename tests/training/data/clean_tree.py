"""A MURA-shaped tree without a fault, for tests that plant some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from data_trees import write_image, write_mura
from numpy.typing import NDArray

TRAIN = {
    "train/XR_ELBOW/patient00001/study1_negative": 2,
    "train/XR_HAND/patient00001/study1_positive": 1,
    "train/XR_WRIST/patient00002/study1_positive": 2,
    "train/XR_WRIST/patient00005/study1_negative": 2,
    "train/XR_HAND/patient00006/study1_negative": 1,
}
VALID = {
    "valid/XR_SHOULDER/patient00003/study1_positive": 2,
    "valid/XR_FINGER/patient00004/study2_negative": 2,
}
WRIST = "train/XR_WRIST/patient00002/study1_positive/image1.png"
FINGER = "valid/XR_FINGER/patient00004/study2_negative/image2.png"


def radiograph(seed: int) -> NDArray[np.uint8]:
    """[96, 80] of a limb that no other seed repeats: blobs of bone on a dark ground."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :80]
    picture = np.zeros((96, 80))
    for row, column in generator.uniform((20, 18), (76, 62), (6, 2)):
        picture += np.exp(-(((y - row) / 9) ** 2) - ((x - column) / 7) ** 2)
    noise = generator.normal(0, 0.01, picture.shape)
    return (255 * np.clip(0.05 + 0.9 * picture / picture.max() + noise, 0, 1)).astype(np.uint8)


def write_clean(root: Path, **splits: Any) -> Path:
    write_mura(root, **{"train": TRAIN, "valid": VALID, **splits})
    for seed, path in enumerate(sorted(root.rglob("image*.png"))):
        write_image(path, radiograph(seed))
    return root
