"""``bone-ssl data check``: faults planted in a MURA-shaped tree, each found and named, and nothing else."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_trees import write_fracatlas, write_image, write_mura
from dicom_factory import limb_pixels
from numpy.typing import NDArray
from PIL import Image

from monai_bone_ssl.cli import main
from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.data.check import Count, Problem, ProblemKind, Sizes, check_data
from monai_bone_ssl.training.data.check_report import check_text
from monai_bone_ssl.training.data.scan import ImageScan, scan_images
from monai_bone_ssl.training.data.suspicion import look_inverted, same_pictures, similar_pictures

TRAIN = {
    "train/XR_ELBOW/patient00001/study1_negative": 2,
    "train/XR_HAND/patient00001/study1_positive": 1,
    "train/XR_WRIST/patient00002/study1_positive": 2,
    "train/XR_WRIST/patient00005/study1_negative": 2,
    "train/XR_HAND/patient00006/study1_negative": 1,
}
VALID = {
    "valid/XR_SHOULDER/patient00003/study1_positive": 2,
    "valid/XR_FINGER/patient00004/study2_negative": 2,
}


def radiograph(seed: int) -> NDArray[np.uint8]:
    """[96, 80] of a limb that no other seed repeats: blobs of bone on a dark ground."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :80]
    picture = np.zeros((96, 80))
    for row, column in generator.uniform((20, 18), (76, 62), (6, 2)):
        picture += np.exp(-(((y - row) / 9) ** 2) - ((x - column) / 7) ** 2)
    noise = generator.normal(0, 0.01, picture.shape)
    return (255 * np.clip(0.05 + 0.9 * picture / picture.max() + noise, 0, 1)).astype(np.uint8)


def _write_clean(root: Path, **splits: Any) -> Path:
    write_mura(root, **{"train": TRAIN, "valid": VALID, **splits})
    for seed, path in enumerate(sorted(root.rglob("image*.png"))):
        write_image(path, radiograph(seed))
    return root


def _check(root: Path) -> list[Problem]:
    return list(check_data(root)[0].problems)


def _only(root: Path) -> Problem:
    (problem,) = _check(root)
    return problem


def test_clean_data_have_no_problem(tmp_path: Path) -> None:
    check, dataset = check_data(_write_clean(tmp_path))
    assert check.problems == ()
    assert check.is_clean
    assert (check.source, check.images, check.groups) == ("MURA v1.1", 12, 6)
    assert check.images == len(dataset)
    assert check.counts == (
        Count("elbow", "train", 0, images=2, studies=1, groups=1),
        Count("finger", "valid", 0, images=2, studies=1, groups=1),
        Count("hand", "train", 0, images=1, studies=1, groups=1),
        Count("hand", "train", 1, images=1, studies=1, groups=1),
        Count("shoulder", "valid", 1, images=2, studies=1, groups=1),
        Count("wrist", "train", 0, images=2, studies=1, groups=1),
        Count("wrist", "train", 1, images=2, studies=1, groups=1),
    )
    assert check.sizes == Sizes((96, 80), (96, 80), (96, 80), 1)


def test_every_leaked_patient_is_reported_with_all_images(tmp_path: Path) -> None:
    leaks = VALID | {
        "valid/XR_HAND/patient00002/study1_negative": 1,
        "valid/XR_HAND/patient00001/study1_positive": 1,
    }
    first, second = _check(_write_clean(tmp_path, valid=leaks))
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


WRIST = "train/XR_WRIST/patient00002/study1_positive/image1.png"
FINGER = "valid/XR_FINGER/patient00004/study2_negative/image2.png"


def test_a_file_in_both_splits_is_found(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    (root / FINGER).write_bytes((root / WRIST).read_bytes())
    assert _only(root) == Problem(
        ProblemKind.SAME_PICTURE,
        "the same file, 2 times, in different groups and splits and labels and parts",
        (WRIST, FINGER),
        ("groups", "splits", "labels", "parts"),
    )


def test_the_same_pixels_in_another_file_are_found(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    with Image.open(root / WRIST) as image:
        image.convert("RGB").save(root / FINGER)
    problem = _only(root)
    assert problem.kind is ProblemKind.SAME_PICTURE
    assert problem.text.startswith("the same pixels in different files, 2 times")
    assert problem.images == (WRIST, FINGER)


def test_a_smaller_brighter_copy_is_found(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    with Image.open(root / WRIST) as image:
        image.resize((60, 72)).point(lambda grey: round(255 * (grey / 255) ** 0.8)).save(root / FINGER)
    problem = _only(root)
    assert problem.kind is ProblemKind.SIMILAR_PICTURE
    assert problem.images == (WRIST, FINGER)
    assert problem.across == ("groups", "splits", "labels", "parts")


def test_a_copy_within_a_study_is_a_note(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    again = WRIST.replace("image1", "image2")
    (root / again).write_bytes((root / WRIST).read_bytes())
    check, _ = check_data(root)
    assert check.problems == (
        Problem(ProblemKind.SAME_PICTURE, "the same file, 2 times", (WRIST, again), note=True),
    )
    assert check.is_clean


def test_an_unreadable_file_is_found(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    (root / WRIST).write_bytes((root / WRIST).read_bytes()[:200])
    text = "expected a readable PNG, JPEG or DICOM image"
    assert _only(root) == Problem(ProblemKind.UNREADABLE, text, (WRIST,))


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    (root / WRIST).unlink()
    assert _only(root) == Problem(ProblemKind.MISSING, "no such file", (WRIST,))


def test_a_blank_image_is_found(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    write_image(root / WRIST, np.full((96, 80), 17, np.uint8))
    problem = _only(root)
    assert (problem.kind, problem.images) == (ProblemKind.BLANK, (WRIST,))


def test_a_colour_image_is_found(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    write_image(root / WRIST, np.stack([radiograph(99), radiograph(98), radiograph(97)], axis=-1))
    problem = _only(root)
    assert (problem.kind, problem.images) == (ProblemKind.COLOUR, (WRIST,))


def test_an_inverted_image_is_found(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    write_image(root / WRIST, 255 - radiograph(99))
    problem = _only(root)
    assert (problem.kind, problem.images) == (ProblemKind.INVERTED, (WRIST,))


def test_an_image_listed_twice_is_found_once(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    with (root / "train_image_paths.csv").open("a") as file:
        file.write(f"MURA-v1.1/{WRIST}\n")
    assert _only(root) == Problem(ProblemKind.LISTED_TWICE, "listed 2 times", (WRIST,))


def test_a_mislabelled_study_is_found(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
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
    found = [p.text for p in _check(write_fracatlas(tmp_path, boxes=boxes)) if p.kind == "contradiction"]
    assert found == [
        f"labels.csv line {line}: fractured is 0, but fracture_boxes.json outlines a fracture in {name}"
        for line, name in ((4, "c.jpg"), (5, "d.jpg"))
    ]


def test_a_list_without_images_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label,part,patient\n")
    with pytest.raises(ConfigError, match="no images listed"):
        check_data(tmp_path / "list.csv")


# The command line


def _plant_everything(root: Path) -> Path:
    _write_clean(root, valid=VALID | {"valid/XR_HAND/patient00002/study1_negative": 1})
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
    root, out = _write_clean(tmp_path / "MURA-v1.1"), tmp_path / "out"
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


def test_of_many_problems_the_first_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    root = _write_clean(tmp_path)
    for path in sorted(root.rglob("image1.png")):
        path.unlink()
    text = check_text(check_data(root)[0])
    assert "  missing files: 7\n" in text
    assert text.count("no such file") == 3
    assert "... and 4 more" in text


# Pictures that occur twice, against naive versions


def _scan(picture: NDArray[np.uint8], digest: str) -> ImageScan:
    return ImageScan("file", digest, (32, 32), picture)


def test_similar_pictures_are_those_that_corrcoef_finds() -> None:
    """More images than one block, copies planted across blocks, numpy's correlation as the oracle."""
    generator = np.random.default_rng(5)
    pictures = generator.integers(0, 256, (1100, 32, 32)).astype(np.uint8)
    for copy, source, blend in ((3, 1050, 0.1), (1030, 1031, 0.05), (700, 701, 0.5)):
        mixed = (1 - blend) * pictures[source] + blend * pictures[copy]
        pictures[copy] = mixed.astype(np.uint8)
    pictures[9] = pictures[1099]
    scans = [_scan(picture, f"{i}") for i, picture in enumerate(pictures)]
    scans[9] = _scan(pictures[9], "1099")  # the same pixels: no similar pair
    scans[20] = ImageScan()
    pictures[20] = 0
    pictures[20, 0, 0] = 1
    expected = np.corrcoef(pictures.reshape(1100, -1).astype(float))
    pairs = {(i, j) for i, j in np.argwhere(np.triu(expected, 1) > 0.985).tolist()} - {(9, 1099)}
    assert pairs == {(3, 1050), (1030, 1031)}
    found = list(similar_pictures(scans))
    assert {(i, j) for i, j, _ in found} == pairs
    for i, j, correlation in found:
        assert correlation == pytest.approx(expected[i, j], abs=1e-5)


def test_same_pictures_are_grouped_whatever_their_number() -> None:
    digests = ["a", "b", "a", None, "c", "b", "a", None]
    assert same_pictures([ImageScan(pixel_digest=digest) for digest in digests]) == [(0, 2, 6), (1, 5)]


def test_nothing_decoded_is_nothing_found() -> None:
    scans = [ImageScan(), ImageScan()]
    assert (list(similar_pictures(scans)), look_inverted(scans), same_pictures(scans)) == ([], [], [])


def test_a_plate_along_one_side_is_not_an_inverted_image() -> None:
    thumbnail = np.full((32, 32), 20, np.uint8)
    thumbnail[8:24, 12:20] = 200
    with_plate = thumbnail.copy()
    with_plate[:, 28:] = 255
    scans = [_scan(picture, "") for picture in (thumbnail, with_plate, 255 - thumbnail)]
    assert look_inverted(scans) == [2]


def test_a_scan_keeps_size_and_digests(tmp_path: Path) -> None:
    grey = limb_pixels(bits=8)
    paths = [write_image(tmp_path / name, grey) for name in ("a.png", "b.png")]
    other = write_image(tmp_path / "c.png", np.ascontiguousarray(grey.T))
    first, second, turned = scan_images([*paths, other])
    assert first.size == (96, 80)
    assert turned.size == (80, 96)
    assert first.file_digest == second.file_digest != turned.file_digest
    assert first.pixel_digest == second.pixel_digest != turned.pixel_digest
    assert first.thumbnail is not None
    assert first.thumbnail.shape == (32, 32)
    assert first.error is None


# Real images


@pytest.mark.shared
def test_fracatlas_has_3044_different_pictures(shared: Path) -> None:
    check, dataset = check_data(shared / "fracatlas")
    same = [problem for problem in check.problems if problem.kind is ProblemKind.SAME_PICTURE]
    assert len(dataset) - sum(len(problem.images) - 1 for problem in same) == 3044
    assert all(problem.note for problem in same), "copies lie within one group"
    similar = [problem for problem in check.problems if problem.kind is ProblemKind.SIMILAR_PICTURE]
    assert [p.images for p in similar if not p.note] == [("images/IMG0002337.jpg", "images/IMG0002340.jpg")]
    assert not [problem for problem in check.problems if "groups" in problem.across]


@pytest.mark.shared
def test_inverted_knees_are_found(shared: Path) -> None:
    """Knees fill the frame, so another rule works for them: a border brighter than the centre on average.

    It gives 84 of 6,604, with a gap to the rest; by eye all are inverted, and none of the next 76.
    """
    paths = sorted((shared / "knee_oa" / "images").iterdir())
    scans = scan_images(paths)
    images = np.stack([scan.thumbnail for scan in scans if scan.thumbnail is not None]).astype(float)
    border = np.ones((32, 32), dtype=bool)
    border[3:-3, 3:-3] = False
    inverted = set(np.flatnonzero(images[:, border].mean(1) > images[:, 8:-8, 8:-8].mean((1, 2))).tolist())
    assert len(inverted) == 84
    found = set(look_inverted(scans))
    assert len(inverted - found) <= 1
    assert len(found - inverted) <= 2
    turned = [
        ImageScan(scan.file_digest, scan.pixel_digest, scan.size, 255 - scan.thumbnail)
        for index, scan in enumerate(scans)
        if index not in inverted and scan.thumbnail is not None
    ]
    assert len(look_inverted(turned)) > 0.98 * len(turned)
