"""The MONAI Deploy application under the real SDK: same answers as ``bone-ssl analyze``, same exit codes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom_factory
import pytest
from analyses import Run, bone_ssl, outcomes, result
from dicom_factory import limb_pixels
from outside import small_file_system
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from pydicom_files import real_radiograph
from tiny_model import draw
from validators import dciodvfy, pixelmed

RunApp = Callable[..., Run]

# What tells when an object was made; everything else has to be equal.
_TIMES = ("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime")


def make_radiograph(path: Path, *arguments: Any, **values: Any) -> Path:
    """A radiograph in a folder that is made where missing."""
    path.parent.mkdir(exist_ok=True)
    return dicom_factory.make_radiograph(path, *arguments, **values)


def reports(out: Path) -> dict[str, Dataset]:
    """File name -> SR without the time it was made at."""
    found = {path.name: dcmread(path) for path in sorted(out.glob("SR_*.dcm"))}
    for report in found.values():
        for keyword in _TIMES:
            delattr(report, keyword)
        for equipment in report.ContributingEquipmentSequence:
            del equipment.ContributionDateTime
    return found


def answers(out: Path) -> Any:
    """result.json without the times."""
    found = result(out)
    for image in found["images"]:
        del image["seconds"]
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real radiographs of the demo, two of them in JPEG 2000."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("RG1_J2KR.dcm", "RG1_UNCR.dcm", "RG3_J2KR.dcm", "RG3_UNCR.dcm"):
        shutil.copy(real_radiograph(name), folder)
    return folder


def test_gives_the_answers_and_reports_of_the_command_line(
    run_app: RunApp, demo: Path, tmp_path: Path
) -> None:
    app, line = tmp_path / "app", tmp_path / "line"
    ran = run_app("-i", demo, "-o", app)
    analysed = bone_ssl("analyze", demo, "-o", line)
    assert (ran.code, analysed.code) == (4, 4), ran.stderr
    assert answers(app) == answers(line)  # probabilities are functions of the logits: equal to the last bit
    assert reports(app) == reports(line)
    assert len(reports(app)) == 2
    assert {path.suffix for path in app.iterdir()} == {".dcm", ".json"}
    assert [path for path in app.glob("SR_*.dcm") if dciodvfy(path).errors] == []
    problems = pixelmed(sorted(app.glob("SR_*.dcm")), tmp_path)
    assert [path for path, found in problems.items() if found.errors] == []


def test_environment_says_where_things_are(run_app: RunApp, tiny_folder: Path, tmp_path: Path) -> None:
    make_radiograph(tmp_path / "in" / "a.dcm", limb_pixels())
    models = tmp_path / "models"
    shutil.copytree(tiny_folder, models / "only")
    ran = run_app(
        HOLOSCAN_INPUT_PATH=str(tmp_path / "in"),
        HOLOSCAN_OUTPUT_PATH=str(tmp_path / "out"),
        HOLOSCAN_MODEL_PATH=str(models),
    )
    assert ran.code == 0, ran.stderr
    assert len(reports(tmp_path / "out")) == 1


def test_log_holds_neither_patient_nor_file_name(run_app: RunApp, tiny_folder: Path, tmp_path: Path) -> None:
    make_radiograph(tmp_path / "in" / "Testperson_Anna.dcm", limb_pixels())
    ran = run_app("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_folder)
    assert b"1 of 1 image analysed, 1 study, 1 report" in ran.stdout
    log = ran.stdout.decode() + ran.stderr
    assert not [word for word in ("Testperson", "TEST-0001", "19700101") if word in log]


@pytest.mark.parametrize(
    "place",
    [
        "make_output_folder",  # before the graph
        "group_by_study",  # in its start
        "prepare_file",  # in each operator
        "analyse_prepared",
        "make_evidence",
        "conclude_study",
        "write_study",
        "result_json",
    ],
)
def test_an_unforeseen_exception_is_told_without_its_message(
    run_app: RunApp, tiny_folder: Path, tmp_path: Path, place: str
) -> None:
    make_radiograph(tmp_path / "in" / "a.dcm", limb_pixels())
    arguments = ("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_folder, "-e", "sc", "-l", "DEBUG")
    ran = run_app(place, *arguments, program=Path(__file__).with_name("run_fault.py"))
    assert ran.code == 1
    assert "\nbone-ssl-map: unforeseen KeyError in fail:" in "\n" + ran.stderr
    assert "Planted" not in ran.stderr + ran.stdout.decode()
    assert not (tmp_path / "out" / "result.json").exists()


def test_what_a_library_quotes_is_not_shown(run_app: RunApp, tiny_folder: Path, tmp_path: Path) -> None:
    make_radiograph(tmp_path / "in" / "a.dcm", limb_pixels())
    arguments = ("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_folder)
    ran = run_app("a_library", *arguments, program=Path(__file__).with_name("run_fault.py"))
    assert ran.code == 0
    assert "Planted" not in ran.stderr + ran.stdout.decode()
    for library in ("py.warnings", "pydicom"):
        assert f"warning: {library}: a message that is not shown" in ran.stderr


# --- wrong input --------------------------------------------------------------------------------------


def test_empty_input(run_app: RunApp, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ran = run_app("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_folder)
    assert ran.code == 3
    assert "no file in the input" in ran.stderr
    assert result(tmp_path / "out")["images"] == []


def test_missing_input_is_wrong_usage(run_app: RunApp, tmp_path: Path) -> None:
    ran = run_app("-i", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert ran.code == 2
    assert "no such file or folder" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "told"), [(["-e", "pdf"], "expected any of sc, seg"), (["-d", "tpu"], "choose from")]
)
def test_wrong_arguments(run_app: RunApp, tmp_path: Path, arguments: list[str], told: str) -> None:
    ran = run_app("-i", tmp_path, "-o", tmp_path / "out", *arguments)
    assert ran.code == 2
    assert told in ran.stderr


def test_wrong_evidence_in_the_environment_is_wrong_usage(run_app: RunApp, tmp_path: Path) -> None:
    ran = run_app("-i", tmp_path, "-o", tmp_path / "out", BONE_SSL_EVIDENCE="pdf")
    assert ran.code == 2


def test_output_that_is_the_input_is_refused(run_app: RunApp, tiny_folder: Path, tmp_path: Path) -> None:
    assert run_app("-i", tmp_path, "-o", tmp_path, "-m", tiny_folder).code == 2


def test_text_file_and_nothing_else(run_app: RunApp, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no DICOM")
    ran = run_app("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_folder)
    assert ran.code == 3
    assert outcomes(tmp_path / "out") == {"notes.txt": "not_dicom"}


def test_study_with_only_unsupported_images(run_app: RunApp, tmp_path: Path) -> None:
    ran = run_app("-i", real_radiograph("RG1_UNCR.dcm"), "-o", tmp_path)
    assert ran.code == 3
    assert outcomes(tmp_path) == {"RG1_UNCR.dcm": "body_part_not_covered"}


def test_truncated_file_beside_a_good_one(run_app: RunApp, tiny_folder: Path, tmp_path: Path) -> None:
    study = generate_uid()
    make_radiograph(tmp_path / "in" / "good.dcm", limb_pixels(), study_uid=study)
    whole = make_radiograph(tmp_path / "whole.dcm", limb_pixels(), study_uid=study).read_bytes()
    (tmp_path / "in" / "half.dcm").write_bytes(whole[: len(whole) // 2])
    ran = run_app("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_folder)
    assert ran.code == 4
    assert outcomes(tmp_path / "out")["half.dcm"] == "truncated_file"
    assert len(reports(tmp_path / "out")) == 1


def test_each_of_two_patients_gets_a_report_of_his_own(
    run_app: RunApp, tiny_folder: Path, tmp_path: Path
) -> None:
    images: dict[str, str] = {}
    for patient in ("ONE", "TWO"):
        study = generate_uid()
        for number in range(3):
            uid = generate_uid()
            path = tmp_path / "in" / f"{number}_{patient}.dcm"  # interleaved by name
            make_radiograph(path, draw(0.8, peak=(3, 3)), patient_id=patient, study_uid=study, sop_uid=uid)
            images[uid] = patient
    ran = run_app("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_folder, "-e", "sc,seg")
    assert ran.code == 0, ran.stderr
    seen = set()
    for path in (tmp_path / "out").glob("*.dcm"):
        made = dcmread(path)
        sources = {uid for uid in images if uid in str(made)}
        assert {images[uid] for uid in sources} == {made.PatientID}
        seen.add((path.name.split("_")[0], made.PatientID))
    assert seen == {(kind, patient) for kind in ("SR", "SC", "SEG") for patient in ("ONE", "TWO")}
    for path in (tmp_path / "out").glob("*.dcm"):
        assert dciodvfy(path).errors == [], path.name


def test_study_that_names_two_patients_gets_no_report(
    run_app: RunApp, tiny_folder: Path, tmp_path: Path
) -> None:
    study = generate_uid()
    for patient in ("ONE", "TWO"):
        make_radiograph(
            tmp_path / "in" / f"{patient}.dcm", limb_pixels(), patient_id=patient, study_uid=study
        )
    ran = run_app("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_folder, "-e", "sc,seg")
    assert ran.code == 4
    assert outcomes(tmp_path / "out") == dict.fromkeys(("ONE.dcm", "TWO.dcm"), "conflicting_patient")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]


@pytest.mark.parametrize("fault", ["interleaved", "mislabelled", "lossy"])
def test_whatever_could_mix_patients_ends_the_run(
    run_app: RunApp, tiny_folder: Path, tmp_path: Path, fault: str
) -> None:
    for patient in ("ONE", "TWO"):
        study = generate_uid()
        for number in range(2):
            path = tmp_path / "in" / f"{patient}_{number}.dcm"
            make_radiograph(path, draw(0.8, peak=(3, 3)), patient_id=patient, study_uid=study)
    program = Path(__file__).with_name("run_mixed.py")
    arguments = ("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_folder)
    ran = run_app(fault, *arguments, program=program)
    assert ran.code == 1
    assert "the run is stopped" in ran.stderr
    assert not (tmp_path / "out" / "result.json").exists()
    # What was written before is whole and right: at most the first study's report.
    assert {report.PatientID for report in reports(tmp_path / "out").values()} <= {"ONE"}


def test_changed_weights(run_app: RunApp, tiny_folder: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_folder, tmp_path / "model")
    (model / "model.onnx").write_bytes((model / "model.onnx").read_bytes() + b"x")
    make_radiograph(tmp_path / "in" / "a.dcm", limb_pixels())
    ran = run_app("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", model)
    assert ran.code == 1
    assert "sha256" in ran.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("found", [0, 2])
def test_folder_without_a_model_or_with_two(
    run_app: RunApp, tiny_folder: Path, tmp_path: Path, found: int
) -> None:
    (tmp_path / "models").mkdir()
    for number in range(found):
        shutil.copytree(tiny_folder, tmp_path / "models" / str(number))
    make_radiograph(tmp_path / "in" / "a.dcm", limb_pixels())
    ran = run_app("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tmp_path / "models")
    assert ran.code == 1
    assert f"has {found} model folders" in ran.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    with small_file_system(tmp_path / "disk", "64k") as folder:
        yield folder


def test_disk_that_fills(run_app: RunApp, tiny_folder: Path, tmp_path: Path, small_disk: Path) -> None:
    for number in range(12):  # a report takes about 12 KB
        make_radiograph(tmp_path / "in" / f"{number}.dcm", limb_pixels(seed=number))
    ran = run_app("-i", tmp_path / "in", "-o", small_disk, "-m", tiny_folder)
    assert ran.code == 1
    assert "cannot be written (No space left on device)" in ran.stderr
    left = list(small_disk.iterdir())
    assert left
    assert all(path.name.startswith("SR_") for path in left), "no result.json, no half file"
    for path in left:
        assert dciodvfy(path).errors == []


def test_evidence_lies_beside_the_report(run_app: RunApp, tmp_path: Path) -> None:
    ran = run_app("-i", real_radiograph("RG3_UNCR.dcm"), "-o", tmp_path, "-e", "sc")
    assert ran.code == 0
    (capture,) = tmp_path.glob("SC_*.dcm")
    assert dciodvfy(capture).errors == []
    source, made = dcmread(real_radiograph("RG3_UNCR.dcm")), dcmread(capture)
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "PatientOrientation", "Laterality"):
        assert made[keyword].value == source[keyword].value


def test_evidence_that_the_header_does_not_allow_is_left_out_and_said_so(
    run_app: RunApp, tiny_folder: Path, tmp_path: Path
) -> None:
    def silence(dataset: Dataset) -> None:
        dataset.PatientOrientation = None

    make_radiograph(tmp_path / "in" / "a.dcm", draw(0.8, peak=(3, 3)), edit=silence)
    ran = run_app("-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_folder, "-e", "sc,seg")
    assert ran.code == 0
    for what in ("Secondary Capture", "Segmentation"):
        assert f"has no Patient Orientation, which a {what} of it needs" in ran.stderr
    assert {path.name[:3] for path in (tmp_path / "out").iterdir()} == {"SR_", "res"}
