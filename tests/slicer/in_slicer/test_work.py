"""What the panel does beside reading: background analysis, reports, export, adaptation, scene files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from BoneXRayReviewLib import dependencies, sample_data
from BoneXRayReviewLib.background import BackgroundTask
from BoneXRayReviewLib.drawing import SCALE, probability_bar
from conftest import node_names
from dicom_factory import limb_pixels, make_radiograph
from doubles.application import Application, SampleDataLogic
from highdicom.sr import srread
from PIL import Image
from pydicom_files import real_radiograph
from reader import ReaderHands
from review.probe_site import site_images, write_probe_model

from monai_bone_ssl.analysis import analyse_file
from monai_bone_ssl.collect import Source
from monai_bone_ssl.findings import Decision, OperatingPoints
from monai_bone_ssl.model import Model, read_spec
from monai_bone_ssl.model_store import current_folder
from monai_bone_ssl.overlay import DECISION_COLOURS
from monai_bone_ssl.review.session import Reader, ReviewSession
from monai_bone_ssl.review.verdict import Reading
from monai_bone_ssl.review.worklist import worklist_from_paths
from monai_bone_ssl.similar_cases import SimilarCases


@pytest.fixture
def hands(application: Application, make_panel: Callable[[], Any], tmp_path: Path) -> ReaderHands:
    return ReaderHands(application, make_panel(), tmp_path / "review")


# --- the model in the application ---------------------------------------------------------------------


def test_analysis_in_the_background_gives_the_package_s_answers(
    hands: ReaderHands, images: Path, tiny_folder: Path
) -> None:
    hands.start(images, tiny_folder, source="folder")
    assert {row[2] for row in hands.table("worklistTable")} == {"no result yet"}
    assert "No AI result yet" in hands.words()
    hands.press("U")  # reading does not wait for it
    hands.click("analyseButton")
    assert hands.ui.taskProgressBar.visible
    hands.wait(hands.panel.tasks)
    assert not hands.ui.taskProgressBar.visible
    model = Model(tiny_folder)
    for case in hands.panel.controller.worklist.cases:
        source = Source(case.path, case.sop_instance_uid, case.study_instance_uid)
        expected = analyse_file(source, str(case.path), model).analysis.finding
        assert case.finding is not None
        assert msgspec.structs.replace(case.finding, seconds=0) == msgspec.structs.replace(
            expected, seconds=0
        )
    assert hands.file == "a.dcm"  # still the one that was open
    assert hands.ui.uncertainButton.checked
    assert "No sign of fracture" in hands.words()
    assert [row[2][:8] for row in hands.table("worklistTable")] == [
        "positive",
        "indeterm",
        "not anal",
        "negative",
    ]


def test_analysis_in_a_blinded_review_betrays_nothing(
    hands: ReaderHands, images: Path, tiny_folder: Path
) -> None:
    hands.start(images, tiny_folder, source="folder", blinded=True)
    before = hands.words()
    hands.click("analyseButton")
    hands.wait(hands.panel.tasks)
    assert hands.words() == before
    assert node_names() == ["Radiograph"]
    hands.press("NR")
    assert "No sign of fracture" in hands.words()


def test_analysis_stops_when_cancelled(
    hands: ReaderHands, images: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from BoneXRayReviewLib import inference

    started, go_on = threading.Event(), threading.Event()
    honest = inference.analyse_file

    def slow(*arguments: Any) -> Any:
        started.set()
        assert go_on.wait(30)
        return honest(*arguments)

    monkeypatch.setattr(inference, "analyse_file", slow)
    hands.start(images, tiny_folder, source="folder")
    hands.click("analyseButton")
    assert started.wait(30)
    hands.click("cancelButton")
    go_on.set()
    hands.wait(hands.panel.tasks)
    assert sum(case.finding is not None for case in hands.panel.controller.worklist.cases) <= 1
    assert "stopped" in hands.message
    hands.click("analyseButton")  # and goes on where it was
    hands.wait(hands.panel.tasks)
    assert all(case.finding is not None for case in hands.panel.controller.worklist.cases)


def test_closing_while_the_model_works(
    hands: ReaderHands, images: Path, tiny_folder: Path, results: Path
) -> None:
    hands.start(images, tiny_folder, source="folder")
    hands.click("analyseButton")
    hands.panel.close_review()
    assert not hands.panel.tasks.busy
    hands.review = hands.review.with_name("other")
    hands.start(results, tiny_folder)
    assert hands.file == "b.dcm"


def test_background_work_runs_in_a_thread_of_its_own() -> None:
    def work(task: BackgroundTask[str]) -> None:
        task.put(threading.current_thread().name)

    task = BackgroundTask(work)
    names: list[str] = []
    while not task.finished:
        names += task.poll()
    task.check()
    assert names == ["BoneXRayReview_0"]


def test_background_work_that_fails_says_why() -> None:
    def work(_task: BackgroundTask[str]) -> None:
        raise ValueError("broken")

    task = BackgroundTask(work)
    while not task.finished:
        task.poll()
    with pytest.raises(ValueError, match="broken"):
        task.check()


def test_similar_cases_of_the_model_are_listed(
    hands: ReaderHands, results: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    model = _with_similar_cases(tiny_folder, tmp_path / "with_cases")
    hands.start(results, model)
    hands.wait(hands.panel.similar.runner)
    rows = hands.table("similarTable")
    assert len(rows) == 5
    distances = [float(row[2]) for row in rows]
    assert distances == sorted(distances)
    assert {row[0] for row in rows} <= {"positive", "negative"}
    assert all(row[3].startswith("train_") for row in rows)
    assert hands.ui.similarPanel.visible
    hands.press(">>")  # one that was not analysed
    assert hands.file == "d.dcm"
    assert not hands.ui.similarPanel.visible


def _with_similar_cases(folder: Path, copy: Path) -> Path:
    rng = np.random.default_rng(0)
    n, width = 40, 2
    cases = SimilarCases.fit(
        rng.normal(size=(n, width)).astype(np.float32),
        np.arange(n) % 2,
        np.array(["hand"] * n),
        np.array([f"train_{index}" for index in range(n)]),
    )
    content = cases.encode()
    copy.mkdir()
    (copy / "cases.npz").write_bytes(content)
    (copy / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    spec = msgspec.structs.replace(read_spec(folder), cases_sha256=hashlib.sha256(content).hexdigest())
    (copy / "model.json").write_bytes(msgspec.json.encode(spec))
    return copy


def test_images_of_the_dicom_database(hands: ReaderHands, images: Path, tmp_path: Path) -> None:
    series = {
        "s1": ([str(images / "a.dcm"), str(images / "b.dcm")], "CR"),
        "s2": ([str(images / "c.dcm")], "DX"),
        "s3": ([str(images / "d.dcm")], "CT"),
    }
    modality = {name: kind for names, kind in series.values() for name in names}
    slicer.dicomDatabase = SimpleNamespace(
        patients=lambda: ["p"],
        studiesForPatient=lambda _: ["t"],
        seriesForStudy=lambda _: list(series),
        filesForSeries=lambda name: series[name][0],
        fileValue=lambda name, tag: modality[name] if tag == "0008,0060" else "",
    )
    hands.start(tmp_path, None, source="database")
    files = {case.path.name for case in hands.panel.controller.worklist.cases}
    assert files == {"a.dcm", "b.dcm", "c.dcm"}  # projection radiographs only


# --- what goes out ------------------------------------------------------------------------------------


def _read_all(hands: ReaderHands) -> None:
    for _ in hands.panel.controller.worklist.cases:
        hands.press("NS")


def test_verified_reports(hands: ReaderHands, images: Path, tiny_folder: Path, tmp_path: Path) -> None:
    hands.start(images, tiny_folder, source="folder")
    hands.click("analyseButton")
    hands.wait(hands.panel.tasks)
    _open_section(hands, "finishSection")
    hands.click("reportsButton")
    assert "no folder" in hands.ui.finishLabel.text
    hands.ui.outputPath.currentPath = str(tmp_path / "out")
    hands.press("PS")
    hands.click("reportsButton")
    assert "1 verified report in" in hands.ui.finishLabel.text
    assert "3 studies not read completely yet" in hands.ui.finishLabel.text
    (written,) = (tmp_path / "out").glob("*.dcm")
    report = srread(written)
    assert report.VerificationFlag == "VERIFIED"
    observer = report.VerifyingObserverSequence[0]
    assert (observer.VerifyingObserverName, observer.VerifyingOrganization) == ("Reader^One", "Test Hospital")
    assert report.PatientID == "TEST-0"  # of a.dcm, the open one
    assert ("reported", hands.verdict(file="a.dcm").key) in hands.audit()


def test_a_report_needs_an_organization(
    hands: ReaderHands, results: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    hands.start(results, tiny_folder, organization="")
    _open_section(hands, "finishSection")
    hands.ui.outputPath.currentPath = str(tmp_path / "out")
    hands.click("reportsButton")
    assert "organization" in hands.ui.finishLabel.text.lower()
    assert list((tmp_path / "out").iterdir()) == []


def test_export(hands: ReaderHands, results: Path, tiny_folder: Path, tmp_path: Path) -> None:
    hands.start(results, tiny_folder)
    hands.press("A5SU")  # the second one is saved by the export
    _open_section(hands, "finishSection")
    hands.ui.outputPath.currentPath = str(tmp_path / "out")
    hands.click("exportButton")
    with (tmp_path / "out" / "review_export.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted((row["reading"], row["agreement"]) for row in rows) == [
        ("abnormal", "agree"),
        ("uncertain", "uncertain"),
    ]
    for path in (tmp_path / "out").iterdir():
        assert "Testperson" not in path.read_text()
    assert len(json.loads((tmp_path / "out" / "review_export.json").read_text())["cases"]) == 4


def test_a_folder_that_cannot_be_written_is_named(
    hands: ReaderHands, results: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    hands.start(results, tiny_folder)
    _open_section(hands, "finishSection")
    hands.ui.outputPath.currentPath = str(tmp_path / "file")
    hands.click("exportButton")
    assert str(tmp_path / "file") in hands.ui.finishLabel.text


def _open_section(hands: ReaderHands, name: str) -> None:
    getattr(hands.ui, name).collapsed = False
    hands.application.show(1100, 1700)


# --- site adaptation ----------------------------------------------------------------------------------


@pytest.fixture
def site(hands: ReaderHands, tmp_path: Path) -> ReaderHands:
    """80 images of 40 patients, analysed and read, the model's answer wrong about half of them."""
    truth = site_images(tmp_path / "site", 40)
    model = write_probe_model(tmp_path / "probe_model")
    hands.start(tmp_path / "site", model, source="folder")
    hands.click("analyseButton")
    hands.wait(hands.panel.tasks)
    session = hands.panel.controller.session
    for case in hands.panel.controller.worklist.cases:
        reading = Reading.ABNORMAL if truth[case.path.stem] else Reading.NORMAL
        session.save(session.verdict(case, reading, seconds=1))
    hands.panel.worklist_panel.refresh()
    _open_section(hands, "adaptationSection")
    hands.ui.storePath.currentPath = str(tmp_path / "store")
    return hands


def test_adapt_adopt_and_roll_back(site: ReaderHands, tmp_path: Path) -> None:
    assert not site.ui.adoptButton.enabled
    site.click("adaptButton")
    site.wait(site.panel.tasks)
    assert "is better (80 verdicts, 40 abnormal, 40 patients)" in site.ui.adaptationLabel.text
    names = [row[0] for row in site.table("figuresTable")]
    assert {"auroc", "log_loss"} <= {name.lower().replace(" ", "_") for name in names}
    store = tmp_path / "store"
    assert not (store / "current.json").exists()  # nothing is adopted yet
    site.application.answer = False
    site.click("adoptButton")
    assert "40 patients" in site.application.questions[-1]
    assert not (store / "current.json").exists()
    site.application.answer = True
    site.click("adoptButton")
    assert current_folder(store).name == "0.1.0+site.1"
    assert Model(store).spec.version == "0.1.0+site.1"
    assert not site.ui.adoptButton.enabled
    site.click("rollbackButton")
    assert Model(store).spec.version == "0.1.0"
    assert "0.1.0" in site.ui.adaptationLabel.text
    site.click("rollbackButton")
    assert "is the first one" in site.ui.adaptationLabel.text


def test_too_few_verdicts_are_refused(
    hands: ReaderHands, results: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    hands.start(results, tiny_folder)
    hands.press("ASNSNSAS")
    _open_section(hands, "adaptationSection")
    hands.click("adaptButton")
    assert "no model store" in hands.ui.adaptationLabel.text
    hands.ui.storePath.currentPath = str(tmp_path / "store")
    hands.click("adaptButton")
    hands.wait(hands.panel.tasks)
    assert "20" in hands.ui.adaptationLabel.text
    assert not hands.ui.adoptButton.enabled
    assert not (tmp_path / "store" / "current.json").exists()


# --- scene files --------------------------------------------------------------------------------------


def _save_scene(path: Path) -> None:
    assert slicer.mrmlScene.WriteToMRB(str(path), vtk.vtkImageData())


def _load_scene(path: Path) -> None:
    """As the application does: close the scene, then import the file."""
    slicer.mrmlScene.Clear(False)
    assert slicer.mrmlScene.ReadFromMRB(str(path))


def test_scene_file_brings_everything_back(
    hands: ReaderHands, results: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    hands.start(results, tiny_folder)
    hands.press("AS")  # c is open now
    hands.ui.filterComboBox.currentIndex = 1
    hands.press("U")
    hands.panel.viewer.place("point")
    hands.panel.viewer.markups.nodes()[0].AddControlPoint(-1.5, -3.0, 0.0)
    hands.ui.opacitySlider.value = 0.7
    hands.ui.thresholdSlider.value = 0.4
    _save_scene(tmp_path / "scene.mrb")
    hands.press("S")  # somebody goes on before the scene is loaded again
    assert hands.file == "d.dcm"
    _load_scene(tmp_path / "scene.mrb")
    assert hands.panel.review is not None
    assert hands.file == "c.dcm"
    assert hands.ui.filterComboBox.currentIndex == 1
    assert hands.ui.readerEdit.text == "Reader^One"
    assert hands.ui.sessionPath.currentPath == str(hands.review)
    assert (hands.ui.opacitySlider.value, hands.ui.thresholdSlider.value) == (0.7, 0.4)
    assert hands.ui.uncertainButton.checked
    (location,) = hands.panel.controller.draft.locations
    assert location.points == (pytest.approx((20, 10)),)
    assert node_names() == ["Radiograph", "Evidence"]  # once, not twice
    assert hands.is_coloured()
    hands.press("S")
    assert hands.verdict(file="c.dcm").locations == (location,)


def test_marks_of_a_scene_that_were_never_saved_come_back(
    hands: ReaderHands, results: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    hands.start(results, tiny_folder)
    hands.panel.viewer.place("ruler")
    node = hands.panel.viewer.markups.nodes()[0]
    node.AddControlPoint(-1.5, -3.0, 0.0)
    node.AddControlPoint(-1.5, -4.5, 0.0)
    _save_scene(tmp_path / "scene.mrb")
    hands.panel.viewer.markups.remove_last()
    _load_scene(tmp_path / "scene.mrb")
    (location,) = hands.panel.controller.draft.locations
    assert location.length_mm == pytest.approx(1.5)
    assert hands.panel.controller.changed


def test_closing_the_scene_saves_and_closes_the_review(
    hands: ReaderHands, results: Path, tiny_folder: Path
) -> None:
    hands.start(results, tiny_folder)
    hands.press("A")
    case = hands.panel.controller.current
    worklist = hands.panel.controller.worklist
    slicer.mrmlScene.Clear(False)
    assert hands.panel.review is None
    with ReviewSession.open(hands.review, Reader("Reader^One"), worklist) as session:  # its lock is free
        assert session.verdicts[case.key].reading is Reading.ABNORMAL
    hands.start(results, tiny_folder)
    assert hands.file == "b.dcm"


# --- dependencies and sample data ---------------------------------------------------------------------


@pytest.fixture
def pip_calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []
    monkeypatch.setattr(slicer.util, "pip_install", calls.append)
    return calls


def test_nothing_is_installed_without_asking(
    application: Application, pip_calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    application.answer = False
    assert dependencies.install_after_asking() is False
    assert "PyTorch" in application.questions[0]
    assert pip_calls == []
    application.answer = True
    dependencies.install_after_asking()
    (wanted,) = pip_calls
    assert (Path(wanted[0]) / "pyproject.toml").is_file()  # this checkout
    assert f"numpy=={np.__version__}" in wanted
    monkeypatch.setattr(dependencies, "__file__", "/nowhere/a/b/c/dependencies.py")
    assert dependencies.package_source() == "monai-bone-ssl"


def test_without_the_package_the_panel_opens_and_offers_it(
    make_panel: Callable[[], Any],
    pip_calls: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dependencies, "is_installed", lambda: False)
    panel = make_panel()
    assert not panel.ui.startButton.enabled
    assert panel.ui.installButton.visible
    assert "not installed" in panel.ui.packageLabel.text
    monkeypatch.setattr(dependencies, "is_installed", lambda: True)
    panel.ui.installButton._qobject.click()
    assert len(pip_calls) == 1
    assert panel.ui.startButton.enabled
    assert not panel.ui.installButton.visible


def test_loading_the_module_imports_no_package_of_ours() -> None:
    """In a process of its own: what is imported when the application starts."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import application_stub; import BoneXRayReview; "
        "print([n for n in ('monai_bone_ssl', 'onnxruntime', 'highdicom', 'torch') if n in sys.modules])"
    )
    here = Path(__file__).parent
    module = here.parents[2] / "slicer_extension" / "BoneXRayReview"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(here), str(module)], capture_output=True, text=True, check=False
    )
    assert ran.stdout.strip() == "[]", ran.stderr


def test_sample_data_is_the_file_it_says() -> None:
    SampleDataLogic.registered.clear()
    sample_data.register()
    (entry,) = SampleDataLogic.registered
    path = real_radiograph(sample_data.SAMPLE)
    assert entry["uris"] == [path.as_uri()]  # the local copy
    assert entry["checksums"] == [f"SHA256:{hashlib.sha256(path.read_bytes()).hexdigest()}"]


def test_sample_data_without_the_local_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    SampleDataLogic.registered.clear()
    monkeypatch.setattr(sample_data, "_installed_copy", lambda: None)
    sample_data.register()
    (entry,) = SampleDataLogic.registered
    assert entry["uris"][0].startswith("https://")
    assert entry["uris"][0].endswith(sample_data.SAMPLE)


# --- small pictures -----------------------------------------------------------------------------------


def test_the_marker_stands_at_the_probability() -> None:
    points = OperatingPoints(high_sensitivity=0.25, high_specificity=0.75)
    for probability in (0.0, 0.5, 1.0):
        picture = np.asarray(Image.open(io.BytesIO(probability_bar(probability, points, width=320))))
        middle = picture[25 * SCALE]
        dark = np.flatnonzero((middle[:, :3].sum(axis=1) < 80) & (middle[:, 3] > 0))
        expected = (18 + probability * (320 - 36)) * SCALE
        assert dark.mean() == pytest.approx(expected, abs=SCALE)
        thirds = [middle[round((18 + share * 284) * SCALE), :3] for share in (0.1, 0.6, 0.9)]
        assert [tuple(map(int, colour)) for colour in thirds] == [
            DECISION_COLOURS[Decision.NEGATIVE],
            DECISION_COLOURS[Decision.INDETERMINATE],
            DECISION_COLOURS[Decision.POSITIVE],
        ]


def test_review_only_needs_no_model(hands: ReaderHands, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    make_radiograph(folder / "x.dcm", limb_pixels())
    hands.start(folder, None, source="folder")
    assert not hands.ui.analyseButton.enabled
    hands.press("N3S")
    verdict = hands.verdict(file="x.dcm")
    assert (verdict.reading, verdict.decision, verdict.model_version) == (Reading.NORMAL, None, None)
    assert worklist_from_paths([folder]).cases[0].key == verdict.key


def test_the_self_test_of_the_application_passes_here(
    hands: ReaderHands, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file that runs in 3D Slicer, unchanged."""
    import BoneXRayReview

    monkeypatch.setattr(slicer.util, "selectModule", lambda _: hands.panel.enter())
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda _: hands.panel)
    BoneXRayReview.BoneXRayReviewTest().runTest()
    assert "Ran 5 tests" in capsys.readouterr().err


def test_the_module_describes_itself(application: Application) -> None:
    import BoneXRayReview

    parent = SimpleNamespace()
    BoneXRayReview.BoneXRayReview(parent)
    assert parent.title == "Bone X-ray Review"
    assert parent.categories == ["Radiology"]
    assert "<b>S</b></td><td>save and next" in parent.helpText
    assert application.started == [sample_data.register]
