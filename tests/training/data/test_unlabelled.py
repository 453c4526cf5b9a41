"""Images to pre-train on, and that no label comes with them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from data_trees import FRACATLAS_ROWS, write_csv, write_fracatlas, write_image, write_mura
from dicom_factory import limb_pixels, make_radiograph
from pydicom import uid

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.data.unlabelled import UnlabelledImage, list_images


def test_an_unlabelled_image_has_no_place_for_a_label() -> None:
    assert {field.name for field in fields(UnlabelledImage)} == {"path", "part", "group", "study"}


def test_of_mura_the_training_images_are_listed(tmp_path: Path) -> None:
    name, images = list_images(write_mura(tmp_path / "MURA-v1.1"))
    assert name == "MURA v1.1"
    folders = [image.path.parent.relative_to(tmp_path / "MURA-v1.1").as_posix() for image in images]
    elbow, hand, wrist = (
        "train/XR_ELBOW/patient00001/study1_negative",
        "train/XR_HAND/patient00001/study1_positive",
        "train/XR_WRIST/patient00002/study1_positive",
    )
    assert folders == [elbow, elbow, hand, wrist, wrist, wrist]
    assert [image.part for image in images] == ["elbow", "elbow", "hand", "wrist", "wrist", "wrist"]
    assert len({image.study for image in images[:2]}) == len({image.study for image in images[3:]}) == 1
    assert len({image.study for image in images}) == 3
    assert len({image.group for image in images[:3]}) == 1
    assert len({image.group for image in images}) == 2


def test_studies_do_not_spell_the_label(tmp_path: Path) -> None:
    _, images = list_images(write_mura(tmp_path))
    said = " ".join(f"{image.part} {image.group} {image.study}" for image in images)
    assert "positive" not in said
    assert "negative" not in said
    assert "patient" not in said


def test_the_list_does_not_depend_on_the_labels(tmp_path: Path) -> None:
    write_fracatlas(tmp_path, boxes=None)
    before = list_images(tmp_path)
    swapped = [
        row.replace(",0,1,", ",x,").replace(",0,0,", ",0,1,").replace(",x,", ",0,0,")
        for row in FRACATLAS_ROWS
    ]
    assert swapped != FRACATLAS_ROWS
    write_fracatlas(tmp_path, rows=swapped, boxes=None)
    assert list_images(tmp_path) == before


def test_without_splits_all_images_are_listed(tmp_path: Path) -> None:
    _, images = list_images(
        write_csv(tmp_path, "path,label,part,patient\na.png,0,hand,Doe\nb.png,1,hand,Roe\n")
    )
    assert [image.path.name for image in images] == ["a.png", "b.png"]
    assert [image.study for image in images] == [None, None]
    assert not {"Doe", "Roe"} & {image.group for image in images}


def test_of_any_folder_every_image_is_listed(tmp_path: Path) -> None:
    for name in ("b.png", "x/y/a.jpg", "x/C.JPEG", "._b.png", ".cache/d.png"):
        write_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    make_radiograph(tmp_path / "x/IM1", limb_pixels(), body_part="WRIST", study_uid="1.2.3")
    make_radiograph(tmp_path / "x/IM2", limb_pixels(), body_part="WRIST", study_uid="1.2.3")
    make_radiograph(tmp_path / "ct.dcm", limb_pixels(), sop_class=uid.CTImageStorage, modality="CT")
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM")
    name, images = list_images(tmp_path)
    assert name == tmp_path.name
    by_name = {image.path.relative_to(tmp_path).as_posix(): image for image in images}
    assert list(by_name) == ["b.png", "broken.dcm", "x/C.JPEG", "x/IM1", "x/IM2", "x/y/a.jpg"]
    first, second = by_name["x/IM1"], by_name["x/IM2"]
    assert first.part == second.part == "wrist"
    assert first.study == second.study is not None
    assert first.group == second.group is not None
    for silent in ("b.png", "broken.dcm"):
        image = by_name[silent]
        assert (image.part, image.group, image.study) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("empty", "empty: no image in it, expected PNG, JPEG or DICOM radiographs"),
        ("nowhere", "nowhere: no such file or folder"),
        ("images.zip", "images.zip: an archive; unpack it"),
    ],
)
def test_where_no_image_is_it_says_so(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "images.zip").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=expected):
        list_images(tmp_path / name)


def test_labelled_data_that_contradict_themselves_are_refused_here_too(tmp_path: Path) -> None:
    text = "path,label,part,patient,split\na.png,0,hand,1,train\nb.png,0,hand,1,valid\n"
    with pytest.raises(ConfigError, match=r"1 patient\(s\) in both train and valid"):
        list_images(write_csv(tmp_path, text))
