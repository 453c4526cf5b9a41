"""A CSV list: paths, parts, patients and splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_trees import refusal, write_csv
from outside import shared

from monai_bone_ssl.body_parts import ANATOMY, FRACATLAS_PARTS, MURA_PARTS
from monai_bone_ssl.findings import ABNORMALITY
from monai_bone_ssl.training.data import load_dataset


def test_csv_paths_are_relative_to_the_csv_and_extra_columns_are_ignored(tmp_path: Path) -> None:
    text = (
        "path,label,part,patient,study,age,split\n"
        "a.png,0,Elbow,p1,1,77,train\nb.png,1,ELBOW,p2,1,5,val\nsub/c.png, 1,wrist,p2,2,5,valid\n"
    )
    dataset = load_dataset(write_csv(tmp_path, text))
    assert [image.path for image in dataset.images] == [tmp_path / n for n in ("a.png", "b.png", "sub/c.png")]
    assert dataset.labels.tolist() == [0, 1, 1]
    assert dataset.parts.tolist() == ["elbow", "elbow", "wrist"]
    assert dataset.groups.tolist() == ["p1", "p2", "p2"]
    assert [image.study for image in dataset.images] == ["p1/1", "p2/1", "p2/2"]
    assert [image.split for image in dataset.images] == ["train", "valid", "valid"]
    assert dataset.target == ABNORMALITY


def test_csv_without_study_and_split_holds_everything_out(tmp_path: Path) -> None:
    bom = "\ufeff"
    text = f"{bom}path,label,part,patient\n\na.png,0,hand,p1\nb.png,1,hand,p1\n"
    dataset = load_dataset(write_csv(tmp_path, text))
    assert [image.study for image in dataset.images] == [None, None]
    assert dataset.held_out() is dataset


def test_csv_acquisitions_become_ranges_and_cells(tmp_path: Path) -> None:
    text = "path,label,part,patient,acquisition\na.png,0,hand,1,north\nb.png,1,wrist,2,south\n"
    dataset = load_dataset(write_csv(tmp_path, text))
    assert dataset.ranges is not None
    assert dataset.ranges.tolist() == ["north", "south"]
    assert dataset.cells is not None
    assert dataset.cells.tolist() == ["north hand", "south wrist"]
    alike = load_dataset(write_csv(tmp_path, text.replace("south", "north")))
    assert alike.ranges is None
    assert alike.cells is None


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("hand", "wrist"), {"hand": MURA_PARTS["hand"], "wrist": MURA_PARTS["wrist"]}),
        (("hand", "leg"), {"hand": FRACATLAS_PARTS["hand"], "leg": FRACATLAS_PARTS["leg"]}),
        (("hand", "knee"), {"hand": (ANATOMY["HAND"], ("HAND",)), "knee": (ANATOMY["KNEE"], ("KNEE",))}),
    ],
)
def test_csv_part_names_choose_the_regions(tmp_path: Path, parts: tuple[str, str], expected: object) -> None:
    text = f"path,label,part,patient\na.png,0,{parts[0]},1\nb.png,1,{parts[1]},2\n"
    assert dict(load_dataset(write_csv(tmp_path, text)).known_parts) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "list.csv: missing columns path, label, part, patient; expected path,label,part,patient"),
        ("path,label,part\na.png,0,hand\n", "list.csv: missing columns patient"),
        ("path,label,part,patient\n", "list.csv: no images listed"),
        ("path,label,part,patient\na.png,1.0,hand,1\n", "list.csv line 2: label is '1.0', expected 0 or 1"),
        ("path,label,part,patient\na.png,,hand,1\n", "line 2: label is '', expected 0 or 1"),
        ("path,label,part,patient\na.png,0,skull,1\n", "line 2: unknown part 'skull', expected one of elbow"),
        ("path,label,part,patient\na.png,0,extremity,1\n", "line 2: unknown part 'extremity'"),
        ("path,label,part,patient\na.png,0,,1\n", "line 2: part is empty"),
        ("path,label,part,patient\na.png,0,hand,\n", "line 2: patient is empty"),
        ("path,label,part,patient,study\na.png,0,hand,1,\n", "line 2: study is empty"),
        ("path,label,part,patient\na.png,0,hand,1,x\n", "line 2: 5 fields, expected 4"),
        ("path,label,part,patient,acquisition\na.png,0,hand,1,\n", "line 2: acquisition is empty"),
        ("path,label,part,patient\na.png,0,hand,1\na.png,1,hand,1\n", "a.png is listed 2 times"),
        ("path,label,part,patient\nno.png,0,hand,1\n", "1 of 1 image files missing, first no.png"),
        ("path,label,part,patient,split\na.png,0,hand,1,test\n", "line 2: split is 'test', expected train"),
        (
            "path,label,part,patient,split\na.png,0,hand,1,train\nb.png,0,hand,1,valid\n",
            "1 patient(s) in both train and valid, the first with a.png",
        ),
        ('path,label,part,patient\na.png,0,"hand,1\n', "list.csv: expected a readable CSV file"),
    ],
)
def test_bad_csv_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(write_csv(tmp_path, text))


def test_csv_of_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("path,label,part,patient\nä.png,0,hand,1\n".encode("latin-1"))
    assert "expected a readable CSV file in UTF-8" in refusal(tmp_path / "list.csv")


def test_patients_are_not_named_in_a_leak(tmp_path: Path) -> None:
    text = "path,label,part,patient,split\na.png,0,hand,Doe^Jane,train\nb.png,0,hand,Doe^Jane,valid\n"
    assert "Doe" not in refusal(write_csv(tmp_path, text))


def test_knee_manifest_loads() -> None:
    dataset = load_dataset(shared("data/knee_oa/manifest.csv"))
    assert len(dataset) == 6604
    assert dataset.labels.sum() == 2791
    assert len(set(dataset.groups)) == 3302
    assert list(dataset.known_parts) == ["knee"]
    assert len(dataset.held_out()) == 826
