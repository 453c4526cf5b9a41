"""Finding files and gathering them by study: every file once, nothing waits, nothing is mixed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dicom_factory import limb_pixels, make_radiograph
from pydicom.uid import generate_uid

from monai_bone_ssl.dicom.collect import Source, Study, find_files, group_by_study
from monai_bone_ssl.errors import CorruptImage, ReasonCode, UnsupportedImage

PIXELS = limb_pixels(64, 64)


def found(folder: Path, *paths: Path, skip: Path | None = None) -> list[tuple[str, str | None]]:
    """Path relative to the folder, and reason code."""
    sources = find_files(paths or [folder], skip or folder.parent / "out")
    return [(str(s.path.relative_to(folder)), s.error and s.error.code.value) for s in sources]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


# --- files --------------------------------------------------------------------------------------------------


def test_every_file_at_any_depth_in_a_stable_order(tmp_path: Path) -> None:
    for name in ("b", "a/2", "a/10", "c/d/e/f", ".hidden"):
        touch(tmp_path / "in" / name)
    (tmp_path / "in" / "empty").mkdir()
    expected = [(name, None) for name in (".hidden", "a/10", "a/2", "b", "c/d/e/f")]
    assert found(tmp_path / "in") == expected


def test_paths_that_overlap_count_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    file = touch(folder / "a" / "1")
    touch(folder / "b")
    assert found(folder, file, folder, folder / "a", file) == [("a/1", None), ("b", None)]


def test_the_folder_of_results_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a")
    touch(tmp_path / "in" / "out" / "SR.dcm")
    touch(tmp_path / "in" / "outer" / "b")
    skip = tmp_path / "in" / ".." / "in" / "out"
    assert found(tmp_path / "in", skip=skip) == [("a", None), ("outer/b", None)]


@pytest.mark.parametrize("target", [".", "..", "../../in", "../.."])
def test_a_link_to_a_folder_that_holds_it_is_a_loop(target: str, tmp_path: Path) -> None:
    touch(tmp_path / "in" / "sub" / "a")
    touch(tmp_path / "secret" / "b")
    (tmp_path / "in" / "sub" / "loop").symlink_to(target)
    assert found(tmp_path / "in") == [("sub/a", None), ("sub/loop", "directory_loop")]


@pytest.mark.parametrize("link", ["a_link", "z_link"], ids=["link first", "link last"])
def test_two_names_of_one_file_are_two_entries(link: str, tmp_path: Path) -> None:
    touch(tmp_path / "in" / "file")
    (tmp_path / "in" / link).symlink_to("file")
    first, second = sorted((link, "file"))
    assert found(tmp_path / "in") == [(first, None), (second, "duplicate_instance")]


@pytest.mark.parametrize("link", ["a_link", "z_link"], ids=["link first", "link last"])
def test_a_folder_is_read_under_one_name(link: str, tmp_path: Path) -> None:
    touch(tmp_path / "in" / "folder" / "file")
    (tmp_path / "in" / link).symlink_to("folder")
    first, second = sorted((link, "folder"))
    assert found(tmp_path / "in") == [(f"{first}/file", None), (second, "directory_loop")]


def test_links_out_of_the_input_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "archive" / "file")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to("../archive")
    assert found(tmp_path / "in") == [("link/file", None)]


@pytest.mark.parametrize("target", ["nowhere", "itself", "nowhere/deeper"])
def test_a_link_that_leads_nowhere_is_an_entry(target: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "itself").symlink_to(target)
    assert found(tmp_path / "in") == [("itself", "unreadable_file")]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """In a process of its own: one that opens the pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    program = (
        "import sys; from pathlib import Path; from monai_bone_ssl.dicom.collect import *\n"
        "studies = group_by_study(find_files([Path(sys.argv[1])], Path('out')))\n"
        "print([s.error.code.value for study in studies for s in study.sources])"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "['unreadable_file']"


# --- studies ------------------------------------------------------------------------------------------------


def gathered(folder: Path) -> list[Study]:
    return group_by_study(find_files([folder], folder / "out"))


def codes(study: Study) -> list[tuple[str, ReasonCode | None]]:
    return [(source.path.name, source.error and source.error.code) for source in study.sources]


def radiograph(path: Path, study: str, patient: str = "P", sop: str | None = None, seed: int = 0) -> Path:
    pixels = limb_pixels(64, 64, seed=seed)
    return make_radiograph(path, pixels, study_uid=study, patient_id=patient, sop_uid=sop)


def test_interleaved_studies_come_apart(tmp_path: Path) -> None:
    one, two = generate_uid(), generate_uid()
    for number in range(6):
        radiograph(tmp_path / f"{number}.dcm", (two, one)[number % 2], f"P{number % 2}")
    studies = gathered(tmp_path)
    assert [study.study_instance_uid for study in studies] == [two, one]
    assert [codes(study) for study in studies] == [
        [("0.dcm", None), ("2.dcm", None), ("4.dcm", None)],
        [("1.dcm", None), ("3.dcm", None), ("5.dcm", None)],
    ]


def test_what_is_not_dicom_stands_alone(tmp_path: Path) -> None:
    radiograph(tmp_path / "a.dcm", generate_uid())
    (tmp_path / "b.txt").write_text("no DICOM at all")
    image, text = gathered(tmp_path)
    assert image.study_instance_uid is not None
    assert text.study_instance_uid is None
    assert codes(text) == [("b.txt", ReasonCode.NOT_DICOM)]


def test_a_second_copy_is_refused_and_the_first_kept(tmp_path: Path) -> None:
    first = radiograph(tmp_path / "a.dcm", generate_uid())
    (tmp_path / "b.dcm").write_bytes(first.read_bytes())
    (study,) = gathered(tmp_path)
    assert codes(study) == [("a.dcm", None), ("b.dcm", ReasonCode.DUPLICATE_INSTANCE)]
    assert isinstance(study.sources[1].error, UnsupportedImage)
    assert "a.dcm" in study.sources[1].error.text


@pytest.mark.parametrize("same_study", [True, False])
def test_one_uid_for_two_images_refuses_both(same_study: bool, tmp_path: Path) -> None:
    study, sop = generate_uid(), generate_uid()
    radiograph(tmp_path / "a.dcm", study, sop=sop, seed=1)
    radiograph(tmp_path / "b.dcm", study if same_study else generate_uid(), sop=sop, seed=2)
    radiograph(tmp_path / "c.dcm", study)
    found = dict(pair for study in gathered(tmp_path) for pair in codes(study))
    conflict = ReasonCode.CONFLICTING_INSTANCE
    assert found == {"a.dcm": conflict, "b.dcm": conflict, "c.dcm": None}


def test_a_copy_beside_a_conflict_is_refused_too(tmp_path: Path) -> None:
    study, sop = generate_uid(), generate_uid()
    first = radiograph(tmp_path / "a.dcm", study, sop=sop, seed=1)
    (tmp_path / "b.dcm").write_bytes(first.read_bytes())
    radiograph(tmp_path / "c.dcm", study, sop=sop, seed=2)
    (gathered_study,) = gathered(tmp_path)
    assert {code for _, code in codes(gathered_study)} == {ReasonCode.CONFLICTING_INSTANCE}


def test_a_study_of_two_patients_is_refused_whole(tmp_path: Path) -> None:
    study = generate_uid()
    for number, patient in enumerate(("A", "A", "B")):
        radiograph(tmp_path / f"{number}.dcm", study, patient)
    radiograph(tmp_path / "other.dcm", generate_uid(), "A")
    mixed, other = gathered(tmp_path)
    assert {code for _, code in codes(mixed)} == {ReasonCode.CONFLICTING_PATIENT}
    assert len(mixed.sources) == 3
    assert all(isinstance(source.error, CorruptImage) for source in mixed.sources)
    assert codes(other) == [("other.dcm", None)]


def test_a_file_without_instance_uid_stays_with_its_study(tmp_path: Path) -> None:
    study = generate_uid()
    for name in ("a.dcm", "b.dcm"):
        make_radiograph(
            tmp_path / name, PIXELS, study_uid=study, edit=lambda d: d.__delattr__("SOPInstanceUID")
        )
    (only,) = gathered(tmp_path)
    assert only.study_instance_uid == study
    assert codes(only) == [("a.dcm", None), ("b.dcm", None)]  # reading them says what is missing


def test_refused_files_keep_their_identity(tmp_path: Path) -> None:
    study, sop = generate_uid(), generate_uid()
    first = radiograph(tmp_path / "a.dcm", study, sop=sop)
    (tmp_path / "b.dcm").write_bytes(first.read_bytes())
    copy: Source = gathered(tmp_path)[0].sources[1]
    assert (copy.study_instance_uid, copy.sop_instance_uid) == (study, sop)


def test_a_name_that_is_no_text_is_named_in_ascii(tmp_path: Path) -> None:
    first = radiograph(Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\x1b[2J.dcm")), generate_uid())
    (tmp_path / "b.dcm").write_bytes(first.read_bytes())
    error = gathered(tmp_path)[0].sources[1].error
    assert error is not None
    assert error.text.isascii()
    assert error.text.isprintable()
