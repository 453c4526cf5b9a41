"""MURA as distributed: what is read, and which contradictions are refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from data_trees import VALID, refusal, write_mura

from monai_bone_ssl.body_parts import MURA_PARTS
from monai_bone_ssl.findings import ABNORMALITY
from monai_bone_ssl.training.data import load_dataset


@pytest.mark.parametrize(
    ("folder", "prefix"),
    [("MURA-v1.1", "MURA-v1.1/"), ("renamed", "MURA-v1.1/"), ("MURA-v1.1", ""), ("x", "data/MURA-v1.1/")],
)
def test_mura_folder_is_read_wherever_its_lists_start(tmp_path: Path, folder: str, prefix: str) -> None:
    dataset = load_dataset(write_mura(tmp_path / folder, prefix=prefix))
    assert len(dataset) == 9
    assert [image.split for image in dataset.images] == ["train"] * 6 + ["valid"] * 3
    third = dataset.images[2]
    assert third.path == tmp_path / folder / "train/XR_HAND/patient00001/study1_positive/image1.png"
    assert third.name == "train/XR_HAND/patient00001/study1_positive/image1.png"
    assert (third.label, third.part, third.group) == (1, "hand", "patient00001")
    assert third.study == "train/XR_HAND/patient00001/study1_positive"
    assert third.hardware is None
    assert third.boxes == ()
    assert Counter((image.part, image.label) for image in dataset.images) == {
        ("elbow", 0): 2,
        ("hand", 1): 1,
        ("wrist", 1): 3,
        ("shoulder", 1): 2,
        ("finger", 0): 1,
    }
    assert dataset.target == ABNORMALITY
    assert dataset.known_parts["shoulder"] == MURA_PARTS["shoulder"]
    assert set(dataset.known_parts) == {"elbow", "hand", "wrist", "shoulder", "finger"}
    assert "no redistribution" in dataset.source.licence


def test_parent_of_the_mura_folder_is_recognised(tmp_path: Path) -> None:
    write_mura(tmp_path / "MURA-v1.1")
    assert len(load_dataset(tmp_path)) == 9


def test_relative_mura_root_is_read_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mura(tmp_path / "MURA-v1.1")
    monkeypatch.chdir(tmp_path)
    assert load_dataset(Path("MURA-v1.1")).images[0].path.is_file()
    assert load_dataset(Path()).images[0].path.is_file()


def test_held_out_is_the_valid_split(tmp_path: Path) -> None:
    held_out = load_dataset(write_mura(tmp_path)).held_out()
    assert [image.group for image in held_out.images] == ["patient00003", "patient00003", "patient00004"]


def test_mura_patient_in_both_splits_is_refused(tmp_path: Path) -> None:
    leak = VALID | {"valid/XR_HAND/patient00002/study1_negative": 1}
    text = refusal(write_mura(tmp_path, valid=leak))
    assert "1 patient(s) in both train and valid" in text
    assert "train/XR_WRIST/patient00002/study1_positive/image1.png" in text


def test_missing_mura_images_are_counted_and_the_first_named(tmp_path: Path) -> None:
    write_mura(tmp_path)
    (tmp_path / "train/XR_WRIST/patient00002/study1_positive/image2.png").unlink()
    (tmp_path / "valid/XR_FINGER/patient00004/study2_negative/image1.png").unlink()
    text = refusal(tmp_path)
    assert "2 of 9 image files missing" in text
    assert "train/XR_WRIST/patient00002/study1_positive/image2.png" in text


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "train_labeled_studies.csv",
            "patient00001/study1_negative/,0",
            "patient00001/study1_negative/,1",
            "train_labeled_studies.csv line 1: label 1 contradicts the study's folder",
        ),
        ("train_labeled_studies.csv", ",0\n", ",2\n", "line 1: label is '2', expected 0 or 1"),
        (
            "train_labeled_studies.csv",
            ",0\n",
            "\n",
            "line 1: 1 fields, expected a study folder and its label",
        ),
        ("train_image_paths.csv", "XR_WRIST", "XR_KNEE", "KNEE/patient00002/study1_positive has no label"),
        ("train_image_paths.csv", "/image2.png", "/image1.png", "is listed 2 times, expected once"),
        (
            "train_image_paths.csv",
            "train/XR_ELBOW",
            "valid/XR_ELBOW",
            "expected a path such as MURA-v1.1/train/",
        ),
        (
            "valid_image_paths.csv",
            "patient00004",
            "patient00003",
            "has no label in valid_labeled_studies.csv",
        ),
    ],
)
def test_contradicting_mura_lists_are_refused(
    tmp_path: Path, file: str, old: str, new: str, expected: str
) -> None:
    write_mura(tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    assert expected in refusal(tmp_path)


def test_unknown_mura_part_is_named(tmp_path: Path) -> None:
    text = refusal(write_mura(tmp_path, train={"train/XR_KNEE/patient00001/study1_negative": 1}))
    assert "unknown part 'XR_KNEE', expected one of XR_ELBOW, XR_FINGER" in text


def test_labelled_mura_study_without_images_is_refused(tmp_path: Path) -> None:
    write_mura(tmp_path)
    with (tmp_path / "valid_labeled_studies.csv").open("a") as file:
        file.write("MURA-v1.1/valid/XR_HAND/patient00009/study1_negative/,0\n")
    assert "no image of 1 labelled studies, first valid/XR_HAND/patient00009" in refusal(tmp_path)


def test_mura_split_that_is_missing_is_named(tmp_path: Path) -> None:
    write_mura(tmp_path)
    (tmp_path / "valid_image_paths.csv").unlink()
    assert refusal(tmp_path).startswith("valid_image_paths.csv: expected a readable CSV file")
