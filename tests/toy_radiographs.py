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


def write_fractures(
    folder: Path, per_class: int, *, images_a_patient: int = 1, validate_every: int | None = None
) -> Path:
    """So many images of each part and label, shafts whole and broken, and the CSV. Gives the CSV.

    Parameters
    ----------
    folder
        Existing folder.
    per_class
        Images of a part with a label.
    images_a_patient
        How many of them are one patient's.
    validate_every
        One image in so many is of the split "val", the others of "train"; without it there are no splits.
    """
    random = np.random.default_rng(0)
    rows: list[tuple[object, ...]] = []
    for number in range(per_class):
        split = "" if validate_every is None else "train" if number % validate_every else "val"
        for part in PARTS:
            for label in (0, 1):
                name = f"{part}_{label}_{number}.png"
                _shaft(random, part, label).save(folder / name)
                rows.append((name, label, part, f"patient{number // images_a_patient}", split))
    return write_list(folder / "list.csv", rows, ("path", "label", "part", "patient", "split"))


def _shaft(random: np.random.Generator, part: str, label: int) -> Image.Image:
    pixels = random.normal(40, 5, (80, 64))
    pixels[:, 24:40] += 120
    if label:
        row = int(random.integers(20, 60))
        pixels[row : row + 6, 20:44] = 30
    return Image.fromarray(np.clip(pixels.T if part == "elbow" else pixels, 0, 255).astype(np.uint8))


def write_list(path: Path, rows: list[tuple[object, ...]], columns: tuple[str, ...] = COLUMNS) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def read_list(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
