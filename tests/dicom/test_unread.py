"""Files that cannot tell their study: which studies they may belong to, and what that does to those."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import make_radiograph
from hypothesis import given
from hypothesis import strategies as st
from menagerie import make
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import EncapsulatedPDFStorage, MediaStorageDirectoryStorage, generate_uid
from tiny_model import draw
from validators import dciodvfy

from monai_bone_ssl.dicom.collect import Study, find_files, group_by_study
from monai_bone_ssl.dicom.unread import StudyFolders
from monai_bone_ssl.errors import ReasonCode
from monai_bone_ssl.findings import Decision, Status
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import analyse

GARBAGE = bytes(np.random.default_rng(3).integers(0, 256, 4000, np.uint8))


def image(path: Path, study: str | None = None, edit: Callable[[Dataset], None] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return make_radiograph(path, draw(0.1), study_uid=study, edit=edit)


def garbled(path: Path) -> None:
    path.write_bytes(GARBAGE)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(5000))


def text(path: Path) -> None:
    path.write_text("<html>503 Service Unavailable</html>")


def picture(path: Path) -> None:
    Image.new("L", (32, 32)).save(path, "JPEG")


def cut_in_the_header(path: Path) -> None:
    path.write_bytes(image(path).read_bytes()[:300])


def without_study(path: Path) -> None:
    image(path, edit=lambda dataset: dataset.__delattr__("StudyInstanceUID"))


def study_uid_of_letters(path: Path) -> None:
    image(path)
    path.write_bytes(path.read_bytes().replace(dcmread(path).StudyInstanceUID.encode(), b"1.2.X."))


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def no_image(path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.StudyInstanceUID
        dataset.SOPClassUID = EncapsulatedPDFStorage

    image(path, edit=edit)


def media_directory(path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.StudyInstanceUID
        dataset.SOPClassUID = MediaStorageDirectoryStorage

    image(path, edit=edit)


def second_name(path: Path) -> None:
    path.symlink_to(next(path.parent.iterdir()).name)


def studies(folder: Path) -> list[Study]:
    found = group_by_study(find_files([folder], folder / "out"))
    return [study for study in found if study.study_instance_uid is not None]


DICOM_BUT_DAMAGED = (cut_in_the_header, without_study, dangling_link)


@pytest.mark.parametrize("first", ["IM0001", "a.dcm", "1.2.840.5.1", "ap", "4F2E8A11", "x.DCM"])
@pytest.mark.parametrize("damage", DICOM_BUT_DAMAGED)
def test_damaged_dicom_counts_whatever_its_name(
    first: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    image(tmp_path / first)
    damage(tmp_path / "other")
    assert [study.unread_files for study in studies(tmp_path)] == [1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("IM0001", "IM0002"),
        ("IM00001", "im2"),
        ("a.dcm", "lateral.dcm"),
        ("a.dcm", "B.DCM"),
        ("1.2.840.5.1", "1.2.840.5.33"),
        ("4F2E8A11", "4F2E8B09"),
        ("00000001", "0000000A"),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "aa2504e0-4f89-11d3-9a0c-0305e82c33ff"),
        ("scan.txt", "scan2.txt"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("damage", [garbled, empty, zeros, text, picture])
def test_a_name_of_the_series_counts_whatever_is_in_it(
    first: str, second: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    image(tmp_path / first)
    damage(tmp_path / second)
    assert [study.unread_files for study in studies(tmp_path)] == [1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.txt", text),
        ("README", text),
        ("photo.jpg", picture),
        ("photo", picture),
        ("IM0002.jpg", picture),
        ("report.pdf", garbled),
        ("viewer.zip", garbled),
        ("README.txt", dangling_link),
        ("DICOMDIR", media_directory),
        ("DICOMDIR", garbled),
        ("DICOMDIR", cut_in_the_header),
        (".DS_Store", garbled),
        ("._IM0001", garbled),
        ("IM0002", no_image),
        ("IM0002", second_name),
    ],
)  # fmt: skip
def test_what_is_plainly_something_else_does_not_count(
    name: str, content: Callable[[Path], None], tmp_path: Path
) -> None:
    image(tmp_path / "IM0001")
    content(tmp_path / name)
    assert [study.unread_files for study in studies(tmp_path)] == [0]


@pytest.mark.parametrize("damage", [garbled, empty, zeros])
def test_what_is_not_plainly_something_else_counts(damage: Callable[[Path], None], tmp_path: Path) -> None:
    image(tmp_path / "AP")
    damage(tmp_path / "LATERAL")
    assert [study.unread_files for study in studies(tmp_path)] == [1]


def test_every_study_of_the_folder_may_own_the_file(tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / f"IM{number}")
    image(tmp_path / "elsewhere" / "IM0")
    garbled(tmp_path / "IM3")
    cut_in_the_header(tmp_path / "IM4")
    assert sorted(study.unread_files for study in studies(tmp_path)) == [0, 2, 2, 2]


def test_a_series_folder_of_its_own_belongs_to_the_study_around(tmp_path: Path) -> None:
    """PATIENT/STUDY/SERIES/IMAGE, as media are written; nothing is said of the other patient."""
    for patient in ("PA1", "PA2"):
        image(tmp_path / patient / "ST1" / "SE1" / "IM1", generate_uid())
    (tmp_path / "PA1" / "ST1" / "SE2").mkdir()
    cut_in_the_header(tmp_path / "PA1" / "ST1" / "SE2" / "IM1")
    (tmp_path / "PA3").mkdir()
    cut_in_the_header(tmp_path / "PA3" / "IM1")  # which studies are around is no hint here
    assert [study.unread_files for study in studies(tmp_path)] == [1, 0]


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=12))
def test_any_name_is_a_sibling_of_itself_in_another_case(name: str) -> None:
    folders = StudyFolders([(Path("/in") / name, "1.2.3")])
    plain = name.startswith(".") or name.upper() == "DICOMDIR" or name.strip(".") == ""
    found = folders.candidates(Path("/in") / name, ReasonCode.NOT_DICOM)
    assert plain or found == ["1.2.3"]


@pytest.mark.parametrize(
    "damage", [garbled, zeros, cut_in_the_header, without_study, study_uid_of_letters, dangling_link]
)
def test_the_study_is_not_negative_and_its_report_is_partial(
    damage: Callable[[Path], None], tmp_path: Path, tiny: Model
) -> None:
    whole = make(tmp_path / "in" / "IM1", 0.1)
    analyse([tmp_path / "in"], tmp_path / "whole", tiny)
    damage(tmp_path / "in" / "IM2")
    results = analyse([tmp_path / "in"], tmp_path / "partial", tiny)
    assert [Path(found.path).name for found in results.images] == ["IM1", "IM2"]
    (study,) = results.studies
    assert study.status is Status.PARTIALLY_ANALYSED
    assert study.decision is Decision.INDETERMINATE
    assert study.unread_files == 1
    (first,), (second,) = ((tmp_path / name).glob("SR_*.dcm") for name in ("whole", "partial"))
    before, after = dcmread(first), dcmread(second)
    assert (before.CompletionFlag, after.CompletionFlag) == ("COMPLETE", "PARTIAL")
    assert before.SOPInstanceUID != after.SOPInstanceUID, "an archive would keep the complete one"
    assert after.PatientID == dcmread(whole).PatientID
    words = "1 of 1 image analysed; 1 file that cannot be read may belong to the study"
    assert words in json.dumps(after.to_json_dict())
    assert words in (tmp_path / "partial" / "index.html").read_text()
    assert dciodvfy(second).errors == []


def test_a_positive_study_stays_positive(tmp_path: Path, tiny: Model) -> None:
    make(tmp_path / "in" / "IM1", 0.9)
    garbled(tmp_path / "in" / "IM2")
    (study,) = analyse([tmp_path / "in"], tmp_path / "out", tiny).studies
    assert (study.decision, study.status) == (Decision.POSITIVE, Status.PARTIALLY_ANALYSED)
