"""The commands of the documentation for researchers, run one after another as they stand.

Only the networks are smaller than their names say, and random, for their weights are not ours to ship; and
pre-training has one epoch instead of a hundred.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from pydicom_files import pydicom_roots
from safetensors.torch import save_file
from test_docs import ROOT, commands
from torch import nn

from monai_bone_ssl.cli import main
from training.comparison.mura_tree import write_mura

PAGES = {
    "README.md": ["vit_small_patch14_dinov2"],
    "docs/tutorials/researcher.md": ["vit_small_patch14_dinov2"],
    "docs/how-to/new-backbone.md": ["vit_base_patch16_224"],
    "docs/how-to/new-body-part.md": ["vit_small_patch14_dinov2"],
    "docs/how-to/operating-points.md": ["vit_small_patch14_dinov2"],
}
OK = 0
OTHERS = {"analyze": (3, 4), "data": (4,)}  # a part that the model was not fitted for; problems in the data
_CNNS = {"resnet50": "test_resnet", "densenet169": "test_efficientnet"}


def write_images(folder: Path, n: int) -> list[Path]:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    paths = [folder / f"{number:03}.jpg" for number in range(n)]
    for number, path in enumerate(paths):
        pixels = np.clip(90 + 30 * (number % 2) + 30 * rng.normal(size=(64, 48)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return paths


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_list(path: Path, images: list[Path]) -> None:
    rows = enumerate(images)
    table = [
        {"path": image.relative_to(path.parent), "label": n % 2, "part": "hand", "patient": n // 2}
        for n, image in rows
    ]
    write_table(path, table)


def write_fracatlas(folder: Path) -> None:
    images = write_images(folder / "images", 120)
    write_table(
        folder / "labels.csv",
        [
            {
                "image_id": image.name,
                "part": "hand",
                "hardware": 0,
                "fractured": n % 2,
                "width": 48,
                "height": 64,
            }
            | {"block": n // 4, "neardup_group": n}
            for n, image in enumerate(images)
        ],
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the pages take as given, but the weights."""
    write_mura(tmp_path, train_studies=26, valid_studies=6, parts=["HAND", "WRIST"])
    write_fracatlas(tmp_path / "fracatlas")
    images = write_images(tmp_path / "my_images", 140)
    write_list(tmp_path / "my_images/list.csv", images[:120])
    write_list(tmp_path / "held_out.csv", images[120:])
    (tmp_path / "study").mkdir()
    shutil.copy(pydicom_roots()[1] / "RG3_UNCR.dcm", tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def shrink_networks(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    create = timm.create_model

    def create_small(name: str, pretrained: bool = False, **settings: object) -> nn.Module:
        plain = name.partition(".")[0]
        if plain in names:
            return create(plain, embed_dim=24, depth=4, num_heads=2, **settings)
        assert not pretrained or plain in _CNNS
        return create(_CNNS.get(plain, name), **settings)

    monkeypatch.setattr(timm, "create_model", create_small)
    torch.manual_seed(0)
    for name in names:
        save_file(timm.create_model(name, num_classes=0).state_dict(), f"{name}.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_runs(page: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_networks(monkeypatch, PAGES[page])
    for words in commands((ROOT / page).read_text()):
        words += ["--epochs", "1"] if words[0] == "pretrain" else []
        assert main(words) in (OK, *OTHERS.get(words[0], ())), words
        out = words[words.index("-o") + 1]
        assert (here / out).exists(), words
