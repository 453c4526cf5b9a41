"""Which kind of data a path holds, and what is said where it holds none."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_trees import refusal, write_csv, write_fracatlas, write_image, write_mura
from dicom_factory import limb_pixels, make_radiograph

from monai_bone_ssl.training.data import load_dataset

EXPECTED = (
    "a MURA folder (train_image_paths.csv), a FracAtlas-style folder (labels.csv), "
    "a folder of DICOM files with study_labels.csv, or a CSV with path,label,part,patient[,study]"
)
CSV = "path,label,part,patient\na.png,0,hand,1\n"


def test_unknown_kinds_say_what_was_expected(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path.name}: no known labelled data; expected {EXPECTED}"
    assert refusal(tmp_path / "nowhere") == f"nowhere: no such file or folder; expected {EXPECTED}"
    (tmp_path / "list.txt").write_text("path,label,part,patient\n")
    assert refusal(tmp_path / "list.txt") == f"list.txt: no known labelled data; expected {EXPECTED}"


@pytest.mark.parametrize(
    "inside",
    [
        "train",
        "valid/XR_FINGER",
        "train/XR_HAND/patient00001/study1_positive",
        "train_image_paths.csv",
        "valid_labeled_studies.csv",
    ],
)
def test_a_place_inside_mura_names_the_folder_to_give(tmp_path: Path, inside: str) -> None:
    root = write_mura(tmp_path / "MURA-v1.1")
    name = Path(inside).name
    assert refusal(root / inside) == (
        f"{name}: no known labelled data; give {root} instead, which holds such data"
    )


def test_the_images_of_fracatlas_name_the_folder_to_give(tmp_path: Path) -> None:
    root = write_fracatlas(tmp_path / "fracatlas")
    assert f"give {root} instead" in refusal(root / "images")


def test_the_folder_around_the_data_names_the_folder_to_give(tmp_path: Path) -> None:
    root = write_fracatlas(tmp_path / "fracatlas")
    assert f"give {root} instead" in refusal(tmp_path)


def test_data_beside_the_path_are_not_what_was_meant(tmp_path: Path) -> None:
    write_mura(tmp_path / "MURA-v1.1")
    (tmp_path / "other").mkdir()
    assert refusal(tmp_path / "other") == f"other: no known labelled data; expected {EXPECTED}"


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "MURA-v1.1.zip").write_bytes(b"PK")
    assert refusal(tmp_path / "MURA-v1.1.zip").startswith("MURA-v1.1.zip: an archive; unpack it and give")


def test_mura_without_its_lists_says_which_are_missing(tmp_path: Path) -> None:
    write_image(tmp_path / "train/XR_HAND/patient00001/study1_positive/image1.png")
    assert "expected MURA's lists beside its folders: {train,valid}_image_paths.csv" in refusal(tmp_path)


def test_fracatlas_as_published_says_what_is_missing(tmp_path: Path) -> None:
    write_image(tmp_path / "images/Fractured/IMG0000019.jpg")
    (tmp_path / "dataset.csv").write_text("image_id,hand,leg\nIMG0000019.jpg,0,1\n")
    assert "expected labels.csv beside FracAtlas' dataset.csv, with the columns image_id,part,fractured" in (
        refusal(tmp_path)
    )


def test_dicom_files_without_labels_say_what_is_missing(tmp_path: Path) -> None:
    make_radiograph(tmp_path / "IM0001", limb_pixels())
    assert "expected study_labels.csv beside the DICOM files, with the columns study_instance_uid,label" in (
        refusal(tmp_path)
    )


def test_the_folder_of_one_csv_list_is_read(tmp_path: Path) -> None:
    write_csv(tmp_path, CSV)
    (tmp_path / "other.csv").write_text("colour,size\nred,1\n")
    assert [image.name for image in load_dataset(tmp_path).images] == ["a.png"]


def test_of_two_csv_lists_one_has_to_be_named(tmp_path: Path) -> None:
    write_csv(tmp_path, CSV)
    (tmp_path / "more.csv").write_text(CSV)
    assert "expected one of the lists in it: list.csv, more.csv" in refusal(tmp_path)
