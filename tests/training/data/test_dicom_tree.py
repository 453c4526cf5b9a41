"""A folder of DICOM radiographs labelled by study_labels.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_trees import refusal
from dicom_factory import CR, DX, limb_pixels, make_radiograph
from pydicom import Dataset, uid
from pydicom.uid import generate_uid

from monai_bone_ssl.body_parts import ANATOMY, MURA_PARTS
from monai_bone_ssl.findings import ABNORMALITY
from monai_bone_ssl.training.data import load_dataset, read_grey

STUDIES = {name: generate_uid(entropy_srcs=["study", name]) for name in ("wrist", "knee", "thumb")}
IMAGES = {name: generate_uid(entropy_srcs=["image", name]) for name in ("pa", "lat", "knee", "thumb")}
PATIENTS = {"Doe^Jane": "ID-4711", "Roe^Richard": "ID-0815"}
SOURCE = limb_pixels(bits=8, seed=3)


def _write_image(path: Path, study: str, image: str, patient: str, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return make_radiograph(
        path,
        how.pop("pixels", SOURCE),
        study_uid=STUDIES[study],
        sop_uid=IMAGES[image],
        patient_name=patient,
        patient_id=PATIENTS[patient],
        **how,
    )


def _write_tree(root: Path, labels: str | None = None) -> Path:
    """Two views of a wrist and a knee of one patient, a thumb of another; one file in JPEG 2000."""
    _write_image(root / "a/1/IM1", "wrist", "pa", "Doe^Jane", body_part="WRIST")
    _write_image(
        root / "a/1/IM2",
        "wrist",
        "lat",
        "Doe^Jane",
        body_part="WRIST",
        transfer_syntax=uid.JPEG2000Lossless,
    )
    _write_image(root / "a/2.dcm", "knee", "knee", "Doe^Jane", body_part="KNEE", sop_class=DX)
    _write_image(root / "b.dcm", "thumb", "thumb", "Roe^Richard", body_part="THUMB")
    (root / "readme.txt").write_text("no image")
    (root / "study_labels.csv").write_text(labels or _by_study(wrist=1, knee=0, thumb=0))
    return root


def _by_study(**labels: int) -> str:
    return "study_instance_uid,label\n" + "".join(f"{STUDIES[name]},{v}\n" for name, v in labels.items())


def test_a_dicom_tree_is_read_with_what_its_headers_say(tmp_path: Path) -> None:
    dataset = load_dataset(_write_tree(tmp_path))
    assert [image.name for image in dataset.images] == ["a/1/IM1", "a/1/IM2", "a/2.dcm", "b.dcm"]
    assert [image.path for image in dataset.images] == [tmp_path / image.name for image in dataset.images]
    assert dataset.labels.tolist() == [1, 1, 0, 0]
    assert dataset.parts.tolist() == ["wrist", "wrist", "knee", "finger"]
    assert [image.split for image in dataset.images] == [None] * 4
    assert dict(dataset.known_parts) == {
        "finger": MURA_PARTS["finger"],
        "knee": (ANATOMY["KNEE"], ("KNEE",)),
        "wrist": MURA_PARTS["wrist"],
    }
    assert dataset.target == ABNORMALITY
    first, same_study, same_patient, other = dataset.images
    assert first.group == same_study.group == same_patient.group != other.group
    assert first.study == same_study.study != same_patient.study


def test_patients_and_studies_are_digests(tmp_path: Path) -> None:
    described = repr(load_dataset(_write_tree(tmp_path)))
    identifying = [*PATIENTS, *PATIENTS.values(), *STUDIES.values(), *IMAGES.values(), "19700101"]
    assert not [text for text in identifying if text in described]


def test_jpeg_2000_gives_the_pixels_of_the_uncompressed_file(tmp_path: Path) -> None:
    plain, compressed = load_dataset(_write_tree(tmp_path)).images[:2]
    assert compressed.path.stat().st_size < plain.path.stat().st_size
    np.testing.assert_array_equal(read_grey(compressed.path), read_grey(plain.path))


def test_an_image_label_goes_before_its_study_label(tmp_path: Path) -> None:
    labels = (
        "label,sop_instance_uid,study_instance_uid\n"
        f"0,,{STUDIES['wrist']}\n1,{IMAGES['lat']},{STUDIES['wrist']}\n"
    )
    dataset = load_dataset(_write_tree(tmp_path, labels))
    assert [(image.name, image.label) for image in dataset.images] == [("a/1/IM1", 0), ("a/1/IM2", 1)]


def test_labels_may_be_given_by_accession_number(tmp_path: Path) -> None:
    labels = "accession_number,label\nA1,1\n"  # that of every file of the factory
    assert load_dataset(_write_tree(tmp_path, labels)).labels.tolist() == [1, 1, 1, 1]


def test_split_and_part_may_be_stated(tmp_path: Path) -> None:
    labels = (
        "study_instance_uid,label,split,part\n"
        f"{STUDIES['wrist']},1,train,Forearm\n{STUDIES['thumb']},0,val,\n"
    )
    dataset = load_dataset(_write_tree(tmp_path, labels))
    assert [(image.part, image.split) for image in dataset.images] == [
        ("forearm", "train"),
        ("forearm", "train"),
        ("finger", "valid"),
    ]


def test_a_name_spelt_otherwise_does_not_split_a_patient(tmp_path: Path) -> None:
    _write_tree(tmp_path, "accession_number,label\nA1,1\n")
    make_radiograph(tmp_path / "c.dcm", SOURCE, patient_id="ID-4711", patient_name="DOE^J", body_part="KNEE")
    groups = {image.name: image.group for image in load_dataset(tmp_path).images}
    assert groups["c.dcm"] == groups["a/2.dcm"]


def test_what_is_no_radiograph_is_left_out(tmp_path: Path) -> None:
    _write_tree(tmp_path, "accession_number,label\nA1,1\n")
    ct = uid.CTImageStorage
    make_radiograph(tmp_path / "ct.dcm", SOURCE, sop_class=ct, modality="CT")
    make_radiograph(tmp_path / "tooth.dcm", SOURCE, sop_class=CR, modality="IO")
    (tmp_path / ".hidden.dcm").write_bytes(b"junk")
    assert len(load_dataset(tmp_path)) == 4


def _no_identity(dataset: Dataset) -> None:
    dataset.PatientID = dataset.PatientName = ""


def test_a_patient_without_identity_is_refused(tmp_path: Path) -> None:
    _write_tree(tmp_path, "accession_number,label\nA1,1\n")
    make_radiograph(tmp_path / "z.dcm", SOURCE, edit=_no_identity)
    assert refusal(tmp_path) == ("z.dcm: Patient ID and name are empty, expected one to keep patients apart")


@pytest.mark.parametrize("body_part", ["", "EXTREMITY", "CHEST"])
def test_a_header_without_a_specific_part_is_refused(tmp_path: Path, body_part: str) -> None:
    _write_tree(tmp_path)
    _write_image(tmp_path / "b.dcm", "thumb", "thumb", "Roe^Richard", body_part=body_part)
    assert "b.dcm: the header names no specific body part, expected one there or in a column part" in (
        refusal(tmp_path)
    )


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    root = _write_tree(tmp_path)
    (root / "b.dcm").write_bytes((root / "b.dcm").read_bytes()[:132])
    assert refusal(root).startswith("b.dcm: ends before its header; 1 more such contradictions")


def test_two_files_of_one_instance_are_refused(tmp_path: Path) -> None:
    _write_tree(tmp_path)
    _write_image(tmp_path / "c.dcm", "thumb", "thumb", "Roe^Richard", body_part="THUMB")
    assert refusal(tmp_path) == "c.dcm: has the SOP Instance UID of b.dcm"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("study_instance_uid\n1.2\n", "study_labels.csv: missing columns label"),
        ("label\n1\n", "study_labels.csv line 2: names nothing, expected one of sop_instance_uid, study_"),
        ("label,accession_number\n1,\n", "line 2: names nothing"),
        ("label,accession_number\n2,A1\n", "line 2: label is '2', expected 0 or 1"),
        ("label,accession_number,split\n1,A1,test\n", "line 2: split is 'test', expected train, valid"),
        ("label,accession_number,part\n1,A1,skull\n", "line 2: unknown part 'skull', expected one of elbow"),
        (
            "label,accession_number\n1,A1\n0,A1\n",
            "line 3: accession_number is labelled twice, first in study_labels.csv line 2",
        ),
        (
            "label,accession_number\n1,A1\n0,SECRET\n",
            "study_labels.csv line 3: accession_number of no radiograph in the folder",
        ),
    ],
)
def test_bad_labels_are_refused(tmp_path: Path, labels: str, expected: str) -> None:
    text = refusal(_write_tree(tmp_path, labels))
    assert expected in text
    assert "SECRET" not in text


def test_a_patient_in_both_splits_is_refused_unnamed(tmp_path: Path) -> None:
    labels = f"study_instance_uid,label,split\n{STUDIES['wrist']},1,train\n{STUDIES['knee']},0,valid\n"
    text = refusal(_write_tree(tmp_path, labels))
    assert "1 patient(s) in both train and valid, the first with a/1/IM1" in text
