"""``bone-ssl data check``: what it prints, writes and answers."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from data_trees import write_image
from PIL import Image

from monai_bone_ssl.cli import main
from training.data.clean_tree import FINGER, VALID, WRIST, radiograph, write_clean


def _plant_everything(root: Path) -> Path:
    write_clean(root, valid=VALID | {"valid/XR_HAND/patient00002/study1_negative": 1})
    (root / FINGER).write_bytes(
        (root / "train/XR_ELBOW/patient00001/study1_negative/image1.png").read_bytes()
    )
    (root / WRIST).write_bytes(b"")
    write_image(root / "train/XR_HAND/patient00006/study1_negative/image1.png", 255 - radiograph(99))
    write_image(root / "train/XR_WRIST/patient00005/study1_negative/image1.png", np.zeros((96, 80), np.uint8))
    (root / "train/XR_WRIST/patient00005/study1_negative/image2.png").unlink()
    return root


KINDS = {
    "patient_in_both_splits": 1,
    "missing": 1,
    "unreadable": 1,
    "blank": 1,
    "inverted": 1,
    "same_picture": 1,
}


def test_the_command_finds_everything_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = _plant_everything(tmp_path / "MURA-v1.1"), tmp_path / "out"
    assert main(["data", "check", str(root), "-o", str(out)]) == 4
    text = capsys.readouterr().out
    assert text.startswith("MURA v1.1: 13 images of 6 groups\n")
    assert "wrist     train  0 negative       2        1       1\n" in text
    assert (
        "  pictures that occur more than once: 1 (1 across groups, 1 across splits, 1 across parts)\n" in text
    )
    assert text.endswith("Problems: 6.\n")
    report = json.loads((out / "check.json").read_text())
    assert Counter(problem["kind"] for problem in report["problems"]) == KINDS
    with (out / "problems.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [
        name for problem in report["problems"] for name in problem["images"]
    ]
    assert {row["problem"] for row in rows} == {"1", "2", "3", "4", "5", "6"}
    for name in ("samples.png", "problems.png"):
        with Image.open(out / name) as sheet:
            sheet.load()
            assert sheet.width > 1000


def test_clean_data_end_with_0_and_leave_no_old_pictures_of_problems(tmp_path: Path) -> None:
    root, out = write_clean(tmp_path / "MURA-v1.1"), tmp_path / "out"
    write_image(out / "problems.png")
    assert main(["data", "check", str(root), "-o", str(out)]) == 0
    assert {file.name for file in out.iterdir()} == {"check.json", "problems.csv", "samples.png"}
    assert json.loads((out / "check.json").read_text())["problems"] == []


def test_what_is_no_data_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "no known labelled data; expected a MURA folder" in capsys.readouterr().err


def test_patients_are_counted_and_not_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate("ab"):
        write_image(tmp_path / f"{name}.png", radiograph(seed))
    (tmp_path / "list.csv").write_text(
        "path,label,part,patient,study,split\na.png,0,hand,Doe^Jane,S7,train\nb.png,1,hand,Doe^Jane,S7,valid\n"
    )
    assert main(["data", "check", str(tmp_path), "-o", str(tmp_path / "out")]) == 4
    text = capsys.readouterr().out + "".join(
        (tmp_path / "out" / name).read_text() for name in ("check.json", "problems.csv")
    )
    assert "one patient with images in train (1) and in valid (1)" in text
    assert "Doe" not in text
    assert "S7" not in text
