"""Pictures of limbs, made by the tests: elbows lie, wrists stand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = ("elbow", "wrist")
COLUMNS = ("path", "label", "part", "patient", "study", "split")


def limb(random: np.random.Generator, part: str) -> Image.Image:
    """A bright shaft somewhere on a dark, noisy ground."""
    pixels = random.normal(40, 5, (80, 64))
    left = int(random.integers(8, 40))
    pixels[:, left : left + 16] += 120
    return Image.fromarray(np.clip(pixels.T if part == "elbow" else pixels, 0, 255).astype(np.uint8))


def write_limbs(folder: Path, images: int, *, seed: int = 0, split: str = "") -> Path:
    """Images and the CSV that lists them; two images a study, four a patient. Gives the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    rows = []
    for number in range(images):
        part = PARTS[number // 2 % 2]
        name = f"{split or 'image'}{seed}_{number:03d}.png"
        limb(random, part).save(folder / name)
        rows.append((name, number % 3 % 2, part, f"{split}{number // 4}", f"s{number // 2 % 2}", split))
    return write_list(folder / "list.csv", rows)


def write_list(path: Path, rows: list[tuple[object, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return path


def read_list(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
