"""Faults planted in a MURA-shaped tree, each found and named, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_trees import write_fracatlas, write_image
from numpy.typing import NDArray
from outside import shared
from PIL import Image

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.data.check import ImageCounts, Problem, ProblemKind, Sizes, check_data
from monai_bone_ssl.training.data.check_report import check_text
from training.data.clean_tree import FINGER, VALID, WRIST, radiograph, write_clean


def _check(root: Path) -> list[Problem]:
    return list(check_data(root)[0].problems)


def _only(root: Path) -> Problem:
    (problem,) = _check(root)
    return problem


def test_clean_data_have_no_problem(tmp_path: Path) -> None:
    check, dataset = check_data(write_clean(tmp_path))
    assert check.problems == ()
    assert check.is_clean
    assert (check.source, check.images, check.groups) == ("MURA v1.1", 12, 6)
    assert check.images == len(dataset)
    assert check.counts == (
        ImageCounts("elbow", "train", 0, images=2, studies=1, groups=1),
        ImageCounts("finger", "valid", 0, images=2, studies=1, groups=1),
        ImageCounts("hand", "train", 0, images=1, studies=1, groups=1),
        ImageCounts("hand", "train", 1, images=1, studies=1, groups=1),
        ImageCounts("shoulder", "valid", 1, images=2, studies=1, groups=1),
        ImageCounts("wrist", "train", 0, images=2, studies=1, groups=1),
        ImageCounts("wrist", "train", 1, images=2, studies=1, groups=1),
    )
    assert check.sizes == Sizes((96, 80), (96, 80), (96, 80), 1)


def test_every_leaked_patient_is_reported_with_all_images(tmp_path: Path) -> None:
    leaks = VALID | {
        "valid/XR_HAND/patient00002/study1_negative": 1,
        "valid/XR_HAND/patient00001/study1_positive": 1,
    }
    first, second = _check(write_clean(tmp_path, valid=leaks))
    assert {first.kind, second.kind} == {ProblemKind.PATIENT_IN_BOTH_SPLITS}
    assert first.text == "one patient with images in train (3) and in valid (1)"
    assert first.images == (
        "train/XR_ELBOW/patient00001/study1_negative/image1.png",
        "train/XR_ELBOW/patient00001/study1_negative/image2.png",
        "train/XR_HAND/patient00001/study1_positive/image1.png",
        "valid/XR_HAND/patient00001/study1_positive/image1.png",
    )
    assert second.text == "one patient with images in train (2) and in valid (1)"
    assert "valid/XR_HAND/patient00002/study1_negative/image1.png" in second.images


def test_a_file_in_both_splits_is_found(tmp_path: Path) -> None:
    root = write_clean(tmp_path)
    (root / FINGER).write_bytes((root / WRIST).read_bytes())
    assert _only(root) == Problem(
        ProblemKind.SAME_PICTURE,
        "the same file, 2 times, in different groups and splits and labels and parts",
        (WRIST, FINGER),
        ("groups", "splits", "labels", "parts"),
    )


def test_the_same_pixels_in_another_file_are_found(tmp_path: Path) -> None:
    root = write_clean(tmp_path)
    with Image.open(root / WRIST) as image:
        image.convert("RGB").save(root / FINGER)
    problem = _only(root)
    assert problem.kind is ProblemKind.SAME_PICTURE
    assert problem.text.startswith("the same pixels in different files, 2 times")
    assert problem.images == (WRIST, FINGER)


def test_a_smaller_brighter_copy_is_found(tmp_path: Path) -> None:
    root = write_clean(tmp_path)
    with Image.open(root / WRIST) as image:
        image.resize((60, 72)).point(lambda grey: round(255 * (grey / 255) ** 0.8)).save(root / FINGER)
    problem = _only(root)
    assert problem.kind is ProblemKind.SIMILAR_PICTURE
    assert problem.images == (WRIST, FINGER)
    assert problem.across == ("groups", "splits", "labels", "parts")


def test_a_copy_within_a_study_is_a_note(tmp_path: Path) -> None:
    root = write_clean(tmp_path)
    again = WRIST.replace("image1", "image2")
    (root / again).write_bytes((root / WRIST).read_bytes())
    check, _ = check_data(root)
    assert check.problems == (
        Problem(ProblemKind.SAME_PICTURE, "the same file, 2 times", (WRIST, again), note=True),
    )
    assert check.is_clean


def test_an_unreadable_file_is_found(tmp_path: Path) -> None:
    root = write_clean(tmp_path)
    (root / WRIST).write_bytes((root / WRIST).read_bytes()[:200])
    text = "expected a readable PNG, JPEG or DICOM image"
    assert _only(root) == Problem(ProblemKind.UNREADABLE, text, (WRIST,))


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    root = write_clean(tmp_path)
    (root / WRIST).unlink()
    assert _only(root) == Problem(ProblemKind.MISSING, "no such file", (WRIST,))


@pytest.mark.parametrize(
    ("kind", "pixels"),
    [
        (ProblemKind.BLANK, np.full((96, 80), 17, np.uint8)),
        (ProblemKind.COLOUR, np.stack([radiograph(seed) for seed in (99, 98, 97)], axis=-1)),
        (ProblemKind.INVERTED, 255 - radiograph(99)),
    ],
)
def test_an_image_that_is_no_radiograph_as_it_should_be_is_found(
    kind: ProblemKind, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    root = write_clean(tmp_path)
    write_image(root / WRIST, pixels)
    problem = _only(root)
    assert (problem.kind, problem.images) == (kind, (WRIST,))


def test_an_image_listed_twice_is_found_once(tmp_path: Path) -> None:
    root = write_clean(tmp_path)
    with (root / "train_image_paths.csv").open("a") as file:
        file.write(f"MURA-v1.1/{WRIST}\n")
    assert _only(root) == Problem(ProblemKind.LISTED_TWICE, "listed 2 times", (WRIST,))


def test_a_mislabelled_study_is_found(tmp_path: Path) -> None:
    root = write_clean(tmp_path)
    labels = root / "train_labeled_studies.csv"
    labels.write_text(
        labels.read_text().replace("patient00002/study1_positive/,1", "patient00002/study1_positive/,0")
    )
    problem = _only(root)
    assert problem.kind is ProblemKind.CONTRADICTION
    assert problem.text == (
        "train_labeled_studies.csv line 3: label 0 contradicts the study's folder "
        "train/XR_WRIST/patient00002/study1_positive"
    )


def test_both_labels_in_one_study_are_a_note(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        write_image(tmp_path / f"{name}.png", radiograph(seed))
    (tmp_path / "list.csv").write_text(
        "path,label,part,patient,study\na.png,0,hand,Doe,1\nb.png,1,hand,Doe,1\nc.png,1,hand,Doe,2\n"
    )
    assert _only(tmp_path / "list.csv") == Problem(
        ProblemKind.STUDY_LABELS_DIFFER, "one study with images of both labels", ("a.png", "b.png"), note=True
    )


def test_outlines_that_contradict_labels_are_found_with_the_rest(tmp_path: Path) -> None:
    boxes = {name: [{"bbox_xywh": [1, 2, 3, 3]}] for name in ("c.jpg", "d.jpg")}
    texts = [p.text for p in _check(write_fracatlas(tmp_path, boxes=boxes)) if p.kind == "contradiction"]
    assert texts == [
        f"labels.csv line {line}: fractured is 0, but fracture_boxes.json outlines a fracture in {name}"
        for line, name in ((4, "c.jpg"), (5, "d.jpg"))
    ]


def test_a_list_without_images_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label,part,patient\n")
    with pytest.raises(ConfigError, match="no images listed"):
        check_data(tmp_path / "list.csv")


def test_of_many_problems_the_first_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    root = write_clean(tmp_path)
    for path in sorted(root.rglob("image1.png")):
        path.unlink()
    text = check_text(check_data(root)[0])
    assert "  missing files: 7\n" in text
    assert text.count("no such file") == 3
    assert "... and 4 more" in text


@pytest.mark.slow
def test_fracatlas_has_3044_different_pictures() -> None:
    check, dataset = check_data(shared("data/fracatlas"))
    same = [problem for problem in check.problems if problem.kind is ProblemKind.SAME_PICTURE]
    assert len(dataset) - sum(len(problem.images) - 1 for problem in same) == 3044
    assert all(problem.note for problem in same), "copies lie within one group"
    similar = [problem for problem in check.problems if problem.kind is ProblemKind.SIMILAR_PICTURE]
    assert [p.images for p in similar if not p.note] == [("images/IMG0002337.jpg", "images/IMG0002340.jpg")]
    assert not [problem for problem in check.problems if "groups" in problem.across]
