"""A small tree shaped like MURA: seven parts, both splits, studies of one to three noise images.

How bright an image is decides its label, but for some that lie on the wrong side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = ("ELBOW", "FINGER", "FOREARM", "HAND", "HUMERUS", "SHOULDER", "WRIST")


def write_mura(
    root: Path,
    *,
    train_studies: int = 4,
    valid_studies: int = 20,
    seed: int = 0,
    parts: Sequence[str] = PARTS,
) -> Path:
    """Write the tree with so many studies a part and label, and return its folder."""
    rng = np.random.default_rng(seed)
    folder = root / "MURA-v1.1"
    patient = 0
    for split, studies in (("train", train_studies), ("valid", valid_studies)):
        paths, labels = [], []
        for part in parts:
            for number in range(2 * studies):
                label = number % 2
                patient += number % 3 != 1  # every third patient has two studies
                name = f"patient{patient:05d}/study{number}_{('negative', 'positive')[label]}"
                study = f"MURA-v1.1/{split}/XR_{part}/{name}/"
                labels.append(f"{study},{label}")
                for view in range(1, 2 + number % 3):
                    path = f"{study}image{view}.png"
                    _write_image(root / path, label, rng)
                    paths.append(path)
        (folder / f"{split}_image_paths.csv").write_text("\n".join(paths) + "\n")
        (folder / f"{split}_labeled_studies.csv").write_text("\n".join(labels) + "\n")
    return folder


def _write_image(path: Path, label: int, rng: np.random.Generator) -> None:
    centre = np.clip(0.5 + 0.1 * (2 * label - 1) + 0.12 * rng.normal(), 0.1, 0.9)
    pixels = np.clip(255 * (centre + 0.1 * rng.normal(size=(12, 10))), 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
