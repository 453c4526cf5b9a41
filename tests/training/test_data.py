"""Labelled data: the three kinds, what is refused, and the splits."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import data_store
import numpy as np
import pytest
from PIL import Image

from monai_bone_ssl.body_parts import ANATOMY, FRACATLAS_REGIONS, MURA_REGIONS
from monai_bone_ssl.errors import ConfigError, CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.findings import ABNORMALITY, FRACTURE
from monai_bone_ssl.radiograph import read_radiograph
from monai_bone_ssl.training.data import AnnotatedBox, LabelledDataset, load_dataset, read_grey, splits

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_fracatlas = pytest.mark.skipif(
    not (SHARED / "fracatlas").is_dir(), reason="needs shared/data/fracatlas beside the checkout"
)
needs_knee = pytest.mark.skipif(
    not (SHARED / "knee_oa").is_dir(), reason="needs shared/data/knee_oa beside the checkout"
)


def _write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5)).save(path)


def _refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_dataset(path)
    assert caught.value.code is ReasonCode.INVALID_DATA
    assert "\n" not in caught.value.text
    return caught.value.text


# MURA

TRAIN = {
    "train/XR_ELBOW/patient00001/study1_negative": 2,
    "train/XR_HAND/patient00001/study1_positive": 1,
    "train/XR_WRIST/patient00002/study1_positive": 3,
}
VALID = {
    "valid/XR_SHOULDER/patient00003/study1_positive": 2,
    "valid/XR_FINGER/patient00004/study2_negative": 1,
}


def _write_mura(
    root: Path, train: dict[str, int] = TRAIN, valid: dict[str, int] = VALID, prefix: str = "MURA-v1.1/"
) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for split, studies in (("train", train), ("valid", valid)):
        paths = [f"{study}/image{i}.png" for study, n in studies.items() for i in range(1, n + 1)]
        for path in paths:
            _write_image(root / path)
        (root / f"{split}_image_paths.csv").write_text("".join(f"{prefix}{path}\n" for path in paths))
        lines = [f"{prefix}{study}/,{int(study.endswith('positive'))}\n" for study in studies]
        (root / f"{split}_labeled_studies.csv").write_text("".join(lines))
    return root


@pytest.mark.parametrize(
    ("folder", "prefix"),
    [("MURA-v1.1", "MURA-v1.1/"), ("renamed", "MURA-v1.1/"), ("MURA-v1.1", ""), ("x", "data/MURA-v1.1/")],
)
def test_mura_folder_is_read_wherever_its_lists_start(tmp_path: Path, folder: str, prefix: str) -> None:
    dataset = load_dataset(_write_mura(tmp_path / folder, prefix=prefix))
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
    assert dataset.regions["shoulder"] == MURA_REGIONS["shoulder"]
    assert set(dataset.regions) == {"elbow", "hand", "wrist", "shoulder", "finger"}
    assert "no redistribution" in dataset.source.licence


def test_parent_of_the_mura_folder_is_recognised(tmp_path: Path) -> None:
    _write_mura(tmp_path / "MURA-v1.1")
    assert len(load_dataset(tmp_path)) == 9


def test_relative_mura_root_is_read_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_mura(tmp_path / "MURA-v1.1")
    monkeypatch.chdir(tmp_path)
    assert load_dataset(Path("MURA-v1.1")).images[0].path.is_file()
    assert load_dataset(Path()).images[0].path.is_file()


def test_held_out_is_the_valid_split(tmp_path: Path) -> None:
    held_out = load_dataset(_write_mura(tmp_path)).held_out()
    assert [image.group for image in held_out.images] == ["patient00003", "patient00003", "patient00004"]


def test_mura_patient_in_both_splits_is_refused(tmp_path: Path) -> None:
    leak = VALID | {"valid/XR_HAND/patient00002/study1_negative": 1}
    text = _refusal(_write_mura(tmp_path, valid=leak))
    assert "1 patient(s) in both train and valid" in text
    assert "train/XR_WRIST/patient00002/study1_positive/image1.png" in text


def test_missing_mura_images_are_counted_and_the_first_named(tmp_path: Path) -> None:
    _write_mura(tmp_path)
    (tmp_path / "train/XR_WRIST/patient00002/study1_positive/image2.png").unlink()
    (tmp_path / "valid/XR_FINGER/patient00004/study2_negative/image1.png").unlink()
    text = _refusal(tmp_path)
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
    _write_mura(tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    assert expected in _refusal(tmp_path)


def test_unknown_mura_part_is_named(tmp_path: Path) -> None:
    text = _refusal(_write_mura(tmp_path, train={"train/XR_KNEE/patient00001/study1_negative": 1}))
    assert "unknown part 'XR_KNEE', expected one of XR_ELBOW, XR_FINGER" in text


def test_labelled_mura_study_without_images_is_refused(tmp_path: Path) -> None:
    _write_mura(tmp_path)
    with (tmp_path / "valid_labeled_studies.csv").open("a") as file:
        file.write("MURA-v1.1/valid/XR_HAND/patient00009/study1_negative/,0\n")
    assert "no image of 1 labelled studies, first valid/XR_HAND/patient00009" in _refusal(tmp_path)


def test_mura_split_that_is_missing_is_named(tmp_path: Path) -> None:
    _write_mura(tmp_path)
    (tmp_path / "valid_image_paths.csv").unlink()
    assert _refusal(tmp_path).startswith("valid_image_paths.csv: expected a readable CSV file")


# FracAtlas

FRACATLAS_HEADER = "image_id,part,hardware,fractured,width,height,block,neardup_group"
# Blocks 1-2-3 hang together through near-duplicate groups 10 and 20; block 4 stands alone.
FRACATLAS_ROWS = [
    "a.jpg,hand,0,1,5,4,1,10",
    "b.jpg,leg,1,1,5,4,2,10",
    "c.jpg,mixed,0,0,5,4,2,20",
    "d.jpg,hip,0,0,5,4,3,20",
    "e.jpg,shoulder,0,0,5,4,4,30",
]
BOXES = {"a.jpg": [{"bbox_xywh": [1.0, 0.5, 2.0, 3.0], "polygon": [[1.0, 0.5, 3.0, 0.5, 3.0, 3.5]]}]}


def _write_fracatlas(root: Path, rows: list[str] = FRACATLAS_ROWS, boxes: object = BOXES) -> Path:
    root.mkdir(exist_ok=True)
    (root / "labels.csv").write_text("\n".join([FRACATLAS_HEADER, *rows]) + "\n")
    for name in "abcde":
        _write_image(root / "images" / f"{name}.jpg")
    if boxes is not None:
        (root / "fracture_boxes.json").write_text(json.dumps(boxes))
    return root


def test_fracatlas_folder_is_read(tmp_path: Path) -> None:
    dataset = load_dataset(_write_fracatlas(tmp_path))
    assert dataset.labels.tolist() == [1, 1, 0, 0, 0]
    assert dataset.parts.tolist() == ["hand", "leg", "mixed", "hip", "shoulder"]
    assert [image.hardware for image in dataset.images] == [False, True, False, False, False]
    assert dataset.images[0].name == "images/a.jpg"
    outline = ((1.0, 0.5), (3.0, 0.5), (3.0, 3.5))
    assert dataset.images[0].boxes == (AnnotatedBox(1.0, 0.5, 2.0, 3.0, (outline,)),)
    assert dataset.images[1].boxes == ()
    assert dict(dataset.regions) == dict(FRACATLAS_REGIONS)
    assert dataset.target == FRACTURE
    assert dataset.source.licence == "CC BY 4.0"


def test_blocks_merge_along_chains_of_near_duplicates(tmp_path: Path) -> None:
    groups = load_dataset(_write_fracatlas(tmp_path)).groups
    assert len(set(groups[:4])) == 1
    assert groups[4] != groups[0]


def test_boxes_are_optional_and_may_name_images_outside_the_list(tmp_path: Path) -> None:
    assert all(not i.boxes for i in load_dataset(_write_fracatlas(tmp_path, boxes=None)).images)
    more = BOXES | {"elsewhere.jpg": BOXES["a.jpg"]}
    assert load_dataset(_write_fracatlas(tmp_path, boxes=more)).images[0].boxes


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("f.jpg,hand,0,1,5,4,1,10", "1 of 6 image files missing, first images/f.jpg"),
        ("a.jpg,hand,0,1,5,4,1,10", "images/a.jpg is listed 2 times"),
        (
            "f.jpg,knee,0,1,5,4,1,10",
            "labels.csv line 7: unknown part 'knee', expected one of hand, leg, hip, ",
        ),
        ("f.jpg,hand,0,yes,5,4,1,10", "labels.csv line 7: fractured is 'yes', expected 0 or 1"),
        ("f.jpg,hand,,1,5,4,1,10", "labels.csv line 7: hardware is '', expected 0 or 1"),
        ("f.jpg,hand,0,1,5,4,,10", "labels.csv line 7: block is empty"),
        ("f.jpg,hand,0,1", "labels.csv line 7: 4 fields, expected 8"),
    ],
)
def test_bad_fracatlas_rows_are_refused(tmp_path: Path, row: str, expected: str) -> None:
    assert expected in _refusal(_write_fracatlas(tmp_path, rows=[*FRACATLAS_ROWS, row]))


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ({"a.jpg": [{"bbox_xywh": [1, 2, 3]}]}, "expected image id -> list of {bbox_xywh, polygon}"),
        ({"a.jpg": [{"bbox_xywh": [1, 2, 0, 3]}]}, "a.jpg has bbox_xywh [1.0, 2.0, 0.0, 3.0], expected"),
        ({"a.jpg": [{"bbox_xywh": [1, 2, 3, 3], "polygon": [[1, 2, 3]]}]}, "a polygon of an odd number"),
        ({"c.jpg": [{"bbox_xywh": [1, 2, 3, 3]}]}, "labels.csv line 4: fractured is 0, but"),
    ],
)
def test_bad_boxes_are_refused(tmp_path: Path, boxes: object, expected: str) -> None:
    assert expected in _refusal(_write_fracatlas(tmp_path, boxes=boxes))


def test_missing_fracatlas_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image_id,part,fractured\na.jpg,hand,1\n")
    assert "labels.csv: missing columns hardware, block, neardup_group" in _refusal(tmp_path)


@pytest.mark.shared
@needs_fracatlas
def test_fracatlas_counts_are_those_of_the_data_notes() -> None:
    dataset = load_dataset(SHARED / "fracatlas")
    assert Counter((image.part, image.label) for image in dataset.images) == {
        ("hand", 0): 677,
        ("hand", 1): 286,
        ("leg", 0): 1460,
        ("leg", 1): 161,
        ("hip", 0): 134,
        ("hip", 1): 7,
        ("shoulder", 0): 66,
        ("shoulder", 1): 8,
        ("mixed", 0): 221,
        ("mixed", 1): 81,
    }
    assert len(set(dataset.groups)) == 112
    assert sum(bool(image.boxes) for image in dataset.images) == dataset.labels.sum() == 543


@pytest.mark.shared
@needs_fracatlas
def test_fracatlas_boxes_lie_inside_their_images() -> None:
    outlined = [image for image in load_dataset(SHARED / "fracatlas").images if image.boxes][::25]
    for image in outlined:
        rows, columns = read_grey(image.path).shape
        for box in image.boxes:
            assert box.x + box.width <= columns + 0.5
            assert box.y + box.height <= rows + 0.5


# CSV


def _write_csv(root: Path, text: str) -> Path:
    for name in ("a.png", "b.png", "sub/c.png"):
        _write_image(root / name)
    path = root / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_paths_are_relative_to_the_csv_and_extra_columns_are_ignored(tmp_path: Path) -> None:
    text = (
        "path,label,part,patient,study,age,split\n"
        "a.png,0,Elbow,p1,1,77,train\nb.png,1,ELBOW,p2,1,5,val\nsub/c.png, 1,wrist,p2,2,5,valid\n"
    )
    dataset = load_dataset(_write_csv(tmp_path, text))
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
    dataset = load_dataset(_write_csv(tmp_path, text))
    assert [image.study for image in dataset.images] == [None, None]
    assert dataset.held_out() is dataset


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("hand", "wrist"), {"hand": MURA_REGIONS["hand"], "wrist": MURA_REGIONS["wrist"]}),
        (("hand", "leg"), {"hand": FRACATLAS_REGIONS["hand"], "leg": FRACATLAS_REGIONS["leg"]}),
        (("hand", "knee"), {"hand": (ANATOMY["HAND"], ("HAND",)), "knee": (ANATOMY["KNEE"], ("KNEE",))}),
    ],
)
def test_csv_part_names_choose_the_regions(tmp_path: Path, parts: tuple[str, str], expected: object) -> None:
    text = f"path,label,part,patient\na.png,0,{parts[0]},1\nb.png,1,{parts[1]},2\n"
    assert dict(load_dataset(_write_csv(tmp_path, text)).regions) == expected


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
    assert expected in _refusal(_write_csv(tmp_path, text))


def test_csv_of_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("path,label,part,patient\nä.png,0,hand,1\n".encode("latin-1"))
    assert "expected a readable CSV file in UTF-8" in _refusal(tmp_path / "list.csv")


def test_patients_are_not_named_in_a_leak(tmp_path: Path) -> None:
    text = "path,label,part,patient,split\na.png,0,hand,Doe^Jane,train\nb.png,0,hand,Doe^Jane,valid\n"
    assert "Doe" not in _refusal(_write_csv(tmp_path, text))


@pytest.mark.shared
@needs_knee
def test_knee_manifest_loads() -> None:
    dataset = load_dataset(SHARED / "knee_oa" / "manifest.csv")
    assert len(dataset) == 6604
    assert dataset.labels.sum() == 2791
    assert len(set(dataset.groups)) == 3302
    assert list(dataset.regions) == ["knee"]
    assert len(dataset.held_out()) == 826


# Unknown


def test_unknown_kinds_say_what_was_expected(tmp_path: Path) -> None:
    expected = (
        "expected a MURA folder (train_image_paths.csv), a FracAtlas-style folder (labels.csv), "
        "or a CSV with path,label,part,patient[,study]"
    )
    assert _refusal(tmp_path) == f"{tmp_path.name}: no known labelled data; {expected}"
    assert _refusal(tmp_path / "nowhere") == f"nowhere: no such file or folder; {expected}"
    (tmp_path / "list.txt").write_text("path,label,part,patient\n")
    assert _refusal(tmp_path / "list.txt") == f"list.txt: no known labelled data; {expected}"


# Splits


def _many_patients(root: Path) -> LabelledDataset:
    _write_image(root / "a.png")
    (root / "list.csv").write_text(
        "path,label,part,patient\n"
        + "".join(f"./{'./' * i}a.png,{int(i % 4 == 0)},hand,{i // 3}\n" for i in range(90))
    )
    return load_dataset(root / "list.csv")


def test_splits_keep_groups_whole_and_test_every_image_once(tmp_path: Path) -> None:
    dataset = _many_patients(tmp_path)
    tested = []
    for train, test in splits(dataset, n_splits=5, seed=1):
        assert not set(dataset.groups[train]) & set(dataset.groups[test])
        assert sorted([*train, *test]) == list(range(90))
        assert set(dataset.labels[test]) == {0, 1}
        tested += test.tolist()
    assert sorted(tested) == list(range(90))


def test_splits_follow_the_seed(tmp_path: Path) -> None:
    dataset = _many_patients(tmp_path)
    first, again, other = ([t.tolist() for _, t in splits(dataset, seed=seed)] for seed in (0, 0, 1))
    assert first == again != other


def test_too_few_groups_for_the_folds_are_refused(tmp_path: Path) -> None:
    dataset = load_dataset(_write_fracatlas(tmp_path))
    with pytest.raises(ConfigError, match="1 groups with a positive image, expected at least 5 for 5 folds"):
        list(splits(dataset))


def test_take_keeps_the_order_given(tmp_path: Path) -> None:
    dataset = load_dataset(_write_fracatlas(tmp_path))
    assert dataset.take(np.array([3, 0])).parts.tolist() == ["hip", "hand"]


# Pixels

RAMP = np.linspace(0, 255, 12).astype(np.uint8).reshape(3, 4)


def test_8_bit_images_scale_to_their_full_range(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "x.png")
    pixels = read_grey(tmp_path / "x.png")
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, RAMP / np.float32(255))


def test_16_bit_images_scale_to_their_full_range(tmp_path: Path) -> None:
    deep = (RAMP.astype(np.uint16) << 8) + 17
    Image.fromarray(deep).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "x.png"), deep / np.float32(65535))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
def test_colour_files_that_are_grey_in_truth_are_converted(tmp_path: Path, mode: str) -> None:
    Image.fromarray(RAMP).convert(mode).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "x.png"), RAMP / np.float32(255))


def test_colour_jpeg_of_a_grey_image_is_converted(tmp_path: Path) -> None:
    smooth = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    Image.fromarray(smooth).convert("RGB").save(tmp_path / "x.jpg", quality=85)
    np.testing.assert_allclose(read_grey(tmp_path / "x.jpg"), smooth / 255, atol=4 / 255)


def test_true_colours_are_refused(tmp_path: Path) -> None:
    coloured = np.stack([RAMP, RAMP, RAMP], axis=-1)
    coloured[1, 2] = (200, 40, 40)
    Image.fromarray(coloured).save(tmp_path / "photo.png")
    with pytest.raises(UnsupportedImage, match=r"photo\.png: image has colours") as caught:
        read_grey(tmp_path / "photo.png")
    assert caught.value.code is ReasonCode.COLOUR


def test_broken_images_are_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:40] + b"\0" * 60 + whole[100:], b"", b"not an image"):
        path.write_bytes(content)
        with pytest.raises(CorruptImage, match=r"x\.png: expected a readable PNG, JPEG or DICOM") as caught:
            read_grey(path)
        assert caught.value.code is ReasonCode.DECODE_FAILED
    path.unlink()
    with pytest.raises(CorruptImage, match=r"x\.png: no such file"):
        read_grey(path)


@pytest.mark.parametrize("name", ["x.dcm", "IM000001"])
def test_dicom_is_read_as_the_product_reads_it(tmp_path: Path, name: str) -> None:
    source = Path(data_store.__file__).parent / "data" / "RG3_UNCR.dcm"
    shutil.copy(source, tmp_path / name)
    np.testing.assert_array_equal(read_grey(tmp_path / name), read_radiograph(source).pixels)


def test_boxes_hold_pixel_centres() -> None:
    box = AnnotatedBox(x=2.0, y=1.0, width=2.0, height=1.0)
    inside = [(r, c) for r in range(4) for c in range(6) if box.contains(r, c)]
    assert inside == [(1, 2), (1, 3)]
