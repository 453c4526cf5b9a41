"""The model in the application: in the background, beside a reader who reads on."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from BoneXRayReviewLib.background import BackgroundTask
from conftest import node_names
from reader import ReaderHands

from monai_bone_ssl.analysis import analyse_file
from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.model.folder import read_spec
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.similar_cases import SimilarCases


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
        expected = analyse_file(source, model).finding
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
    hands.analyse()
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
    hands.analyse()  # and goes on where it was
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
    hands.wait(hands.panel.case_view.similar.runner)
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
