"""Reading a worklist with keys and clicks, as a reader does: what is on the screen, what on the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import slicer
from conftest import node_names
from doubles.application import Application
from PySide6.QtTest import QTest
from reader import ReaderHands

from monai_bone_ssl.findings import Decision
from monai_bone_ssl.model import read_spec
from monai_bone_ssl.review.session import Reader, ReviewSession
from monai_bone_ssl.review.verdict import Agreement, Reading
from monai_bone_ssl.review.worklist import worklist_from_results


@pytest.fixture
def hands(application: Application, make_panel: Callable[[], Any], tmp_path: Path) -> ReaderHands:
    return ReaderHands(application, make_panel(), tmp_path / "review")


def test_a_study_is_read_with_keys(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    hands.start(results, tiny_folder)
    order = []
    for keys in ("A5S", "US", "N!", "AS"):  # positive first, then indeterminate, not analysed, negative
        order.append(hands.file)
        hands.press(keys)
    assert order == ["b.dcm", "c.dcm", "d.dcm", "a.dcm"]
    told = {file: hands.verdict(file=file) for file in order}
    assert [told[file].reading for file in order] == [
        Reading.ABNORMAL, Reading.UNCERTAIN, Reading.NORMAL, Reading.NORMAL,
    ]  # fmt: skip
    assert [told[file].agreement for file in order] == [
        Agreement.AGREE, Agreement.UNCERTAIN, None, Agreement.AGREE,
    ]  # fmt: skip
    assert [told[file].decision for file in order] == [
        Decision.POSITIVE, Decision.INDETERMINATE, None, Decision.NEGATIVE,
    ]  # fmt: skip
    assert told["b.dcm"].confidence == 5
    assert hands.message == "All 4 images are read."
    assert hands.ui.progressLabel.text == "4 of 4 read"


def test_the_result_is_shown_beside_the_image(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    hands.start(results, tiny_folder)
    words = hands.words()
    found = json.loads((results / "result.json").read_text())
    probability = max(image["probability"] or 0 for image in found["images"])
    assert f"Suspected fracture, probability of fracture {probability:.2f}" in words
    assert "Algorithm result, not verified by a reader" in words
    assert "Model tiny 0.1.0" in words
    assert "hand (from the image" in words
    assert "Testperson^B" in words
    assert not hands.ui.barLabel._qobject.pixmap().isNull()
    assert (hands.ui.normalButton.text, hands.ui.abnormalButton.text) == ("No fracture (N)", "Fracture (P)")
    hands.press(">>")
    assert hands.file == "d.dcm"
    assert "Not analysed" in hands.words()
    assert not hands.ui.barLabel.visible


def test_disagree_flag_and_comment(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    hands.start(results, tiny_folder)
    hands.press("DF2")
    edit = hands.ui.commentEdit._qobject
    edit.setFocus()
    QTest.keyClicks(edit, "old avulsion, no fracture")  # n, a, d, f, ... are letters while one types
    hands.application.window.setFocus()
    hands.press("S")
    verdict = hands.verdict(file="b.dcm")
    assert verdict.reading is Reading.NORMAL
    assert verdict.agreement is Agreement.DISAGREE
    assert verdict.comment == "old avulsion, no fracture"
    assert (verdict.confidence, verdict.flagged) == (2, True)
    hands.ui.filterComboBox.currentIndex = 6
    assert [row[3] for row in hands.table("worklistTable")] == ["normal (flagged)"]
    hands.ui.filterComboBox.currentIndex = 5
    assert [row[2] for row in hands.table("worklistTable")] == ["positive 0.98"]


def test_save_and_next_advances_in_a_filtered_list(
    hands: ReaderHands, results: Path, tiny_folder: Path
) -> None:
    hands.start(results, tiny_folder)
    hands.ui.filterComboBox.currentIndex = 1  # not read yet: each case leaves the list when it is saved
    seen = []
    for _ in range(4):
        seen.append(hands.file)
        hands.press("NS")
    assert seen == ["b.dcm", "c.dcm", "d.dcm", "a.dcm"]
    assert hands.table("worklistTable") == []


def test_nothing_is_saved_without_a_reading(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    hands.start(results, tiny_folder)
    hands.press("S")
    assert hands.file == "b.dcm"
    assert "no reading yet" in hands.message
    hands.press(">A")  # the indeterminate one: nothing to agree with
    assert not hands.ui.agreeButton.enabled
    assert "expected positive or negative" in hands.message
    assert list(hands.panel.controller.session.verdicts) == []


def test_a_reading_is_saved_when_the_reader_moves_on(
    hands: ReaderHands, results: Path, tiny_folder: Path
) -> None:
    hands.start(results, tiny_folder)
    hands.press("N>")
    assert hands.file == "c.dcm"
    assert hands.verdict(file="b.dcm").reading is Reading.NORMAL
    hands.double_click("worklistTable", 3)
    assert hands.file == "a.dcm"
    hands.press("<")
    assert hands.file == "d.dcm"


def test_a_comment_without_a_reading_is_there_again(
    hands: ReaderHands, results: Path, tiny_folder: Path
) -> None:
    hands.start(results, tiny_folder)
    hands.ui.commentEdit.plainText = "ask for another view"
    hands.press("><")
    assert hands.ui.commentEdit.plainText == "ask for another view"


def test_restart_and_resume(
    application: Application, make_panel: Callable[[], Any], results: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    first = ReaderHands(application, make_panel(), tmp_path / "review")
    first.start(results, tiny_folder)
    first.press("AS")
    first.press("U")  # saved by no key, but by the end of the application
    first.panel.cleanup()
    second = ReaderHands(application, make_panel(), tmp_path / "review")
    second.start(results, tiny_folder)
    assert second.file == "c.dcm"  # where the first left off
    assert second.ui.uncertainButton.checked
    assert second.ui.progressLabel.text == "2 of 4 read"
    assert [event for event, _ in second.audit()] == [
        "opened", "saved", "opened", "saved", "closed", "opened",
    ]  # fmt: skip


# --- the overlay --------------------------------------------------------------------------------------


def test_one_key_hides_the_evidence(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    hands.start(results, tiny_folder)
    assert hands.is_coloured()
    hands.press("H")
    assert not hands.is_coloured()
    hands.press(">")
    assert not hands.is_coloured()  # and it stays hidden
    hands.press("H")
    assert hands.is_coloured()
    hands.ui.opacitySlider.value = 0.0
    assert not hands.is_coloured()
    hands.ui.opacitySlider.value = 1.0
    hands.ui.thresholdSlider.value = 1.0
    hands.press("<")
    assert hands.panel.viewer.evidence.GetDisplayNode().GetLowerThreshold() == pytest.approx(
        hands.panel.review.spec.evidence_limit
    )


def test_without_the_model_evidence_is_scaled_to_the_image(hands: ReaderHands, results: Path) -> None:
    hands.start(results, None)
    assert hands.panel.review.evidence_limit is None
    assert hands.is_coloured()
    assert "positive, probability 0.98" in hands.words()


# --- blinded ------------------------------------------------------------------------------------------

_BETRAYING = (
    "positive",
    "negative",
    "indeterminate",
    "0.98",
    "0.49",
    "Suspected",
    "not analysed",
    "Not analysed",
    "hip",
)


def _betrayed(hands: ReaderHands) -> list[str]:
    filters = "AI positive AI indeterminate Not analysed I disagreed with the AI"
    words = hands.words().replace(filters, "")
    return [word for word in _BETRAYING if word in words]


def test_blinded_nothing_betrays_the_answer_before_the_first_reading(
    hands: ReaderHands, results: Path, tiny_folder: Path
) -> None:
    hands.start(results, tiny_folder, blinded=True)
    assert [row[0] for row in hands.table("worklistTable")] == ["1", "2", "3", "4"]
    for file in ("a.dcm", "b.dcm", "c.dcm", "d.dcm"):
        assert hands.file == file  # the order of the files
        assert _betrayed(hands) == []
        assert not hands.is_coloured()
        assert node_names() == ["Radiograph"]  # nor does the scene
        assert not hands.ui.agreeButton.enabled
        hands.press(">")
    hands.press("<<<<A")
    assert "hidden" in hands.message
    assert list(hands.panel.controller.session.verdicts) == []


def test_blinded_first_reading_then_the_answer_then_a_change(
    hands: ReaderHands, results: Path, tiny_folder: Path
) -> None:
    hands.start(results, tiny_folder, blinded=True)
    hands.press(">N")
    assert _betrayed(hands) == []
    hands.press("R")
    assert hands.file == "b.dcm"
    assert "Suspected fracture" in hands.words()
    assert hands.is_coloured()
    assert hands.table("worklistTable")[1][2] == "positive 0.98"
    first = hands.verdict()
    assert (first.reading, first.first_reading, first.blinded) == (Reading.NORMAL, Reading.NORMAL, True)
    hands.press("AS")
    changed = hands.verdict(file="b.dcm")
    assert (changed.reading, changed.first_reading, changed.blinded) == (
        Reading.ABNORMAL,
        Reading.NORMAL,
        False,
    )
    assert hands.file == "c.dcm"
    assert _betrayed(hands)  # of b, in the list; but not of c
    assert "AI result is hidden" in hands.words()
    key = changed.key
    assert [event for event, of in hands.audit() if of == key] == ["opened", "saved", "revealed", "changed"]


# --- two readers --------------------------------------------------------------------------------------


def test_two_readers_and_an_adjudication(
    application: Application, make_panel: Callable[[], Any], results: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    hands = ReaderHands(application, make_panel(), tmp_path / "review")
    hands.start(results, tiny_folder)
    hands.press("ASNSNSAS")
    hands.panel.close_review()
    hands.start(results, tiny_folder, name="Reader^Two")
    assert hands.ui.progressLabel.text == "0 of 4 read"  # verdicts of her own
    hands.press("DSNSNSAS")
    assert hands.verdict(file="b.dcm", name="Reader^One").reading is Reading.ABNORMAL
    assert hands.verdict(file="b.dcm", name="Reader^Two").reading is Reading.NORMAL
    hands.panel.close_review()
    hands.start(results, tiny_folder, name="Senior^Third")
    hands.ui.adjudicationSection.collapsed = False
    hands.application.show(1100, 1400)
    hands.click("disagreementsButton")
    assert hands.table("disagreementTable")[0][0] == "Reader^One: abnormal, Reader^Two: normal"
    assert len(hands.table("disagreementTable")) == 1
    hands.double_click("disagreementTable", 0)
    assert hands.file == "b.dcm"
    assert "settles the disagreement" in hands.message
    hands.press("PS")
    assert hands.verdict(file="b.dcm", name="Senior^Third").adjudicated
    hands.click("disagreementsButton")
    assert hands.table("disagreementTable") == []
    assert ("adjudicated", hands.verdict(file="b.dcm", name="Senior^Third").key) in hands.audit()


def test_the_same_reader_twice_is_refused(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    worklist = worklist_from_results(results, read_spec(tiny_folder))
    with ReviewSession.open(hands.review, Reader("Reader^One"), worklist):
        hands.start(results, tiny_folder)
        assert hands.panel.review is None
        assert "Reader^One" in hands.ui.sessionMessage.text
    hands.click("startButton")
    assert hands.panel.review is not None
    assert hands.ui.sessionMessage.text == ""


# --- bad input ----------------------------------------------------------------------------------------


def test_a_vanished_file_is_told_and_cannot_be_judged(
    hands: ReaderHands, results: Path, images: Path, tiny_folder: Path
) -> None:
    (images / "b.dcm").unlink()
    hands.start(results, tiny_folder)
    assert hands.file == "b.dcm"
    assert "b.dcm" in hands.message
    assert node_names() == []
    hands.press("A")
    assert not hands.ui.normalButton.enabled
    assert list(hands.panel.controller.session.verdicts) == []
    hands.press(">")
    assert hands.file == "c.dcm"
    assert node_names() == ["Radiograph", "Evidence"]


def test_another_image_in_the_place_of_a_file_is_not_shown(
    hands: ReaderHands, results: Path, images: Path, tiny_folder: Path
) -> None:
    shutil.copy(images / "a.dcm", images / "b.dcm")
    hands.start(results, tiny_folder)
    assert "not the image of the worklist" in hands.message
    assert node_names() == []
    assert "Testperson" not in hands.words()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda results, _: (results / "result.json").write_text("{"), "result.json"),
        (lambda results, _: (results / "result.json").unlink(), "result.json"),
        (lambda _, model: (model / "model.json").unlink(), "model.json"),
    ],
)
def test_damaged_input_is_named(
    hands: ReaderHands,
    results: Path,
    tiny_folder: Path,
    tmp_path: Path,
    damage: Callable[[Path, Path], Any],
    told: str,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_folder, model)
    damage(results, model)
    hands.start(results, model)
    assert hands.panel.review is None
    assert told in hands.ui.sessionMessage.text
    assert not (tmp_path / "review").exists()


def test_a_model_with_a_wrong_hash_analyses_nothing(
    hands: ReaderHands, images: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_folder, model)
    with (model / "model.onnx").open("ab") as file:
        file.write(b"x")
    hands.start(images, model, source="folder")
    hands.click("analyseButton")
    hands.wait(hands.panel.tasks)
    assert "sha256" in hands.message
    assert {row[2] for row in hands.table("worklistTable")} == {"no result yet"}


def test_a_verdict_that_cannot_be_written_stays_on_the_screen(
    hands: ReaderHands, results: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.start(results, tiny_folder)
    from monai_bone_ssl.errors import ReasonCode, ReportError
    from monai_bone_ssl.review import session

    def full_disk(path: Path, _content: bytes) -> None:
        raise ReportError(ReasonCode.WRITE_FAILED, f"{path}: cannot be written (No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr(session, "write_atomically", full_disk)
        hands.press("A4S")
        assert hands.file == "b.dcm"
        assert "No space left" in hands.message
        assert "No space left" in hands.application.errors[0]  # and a dialog
        assert hands.panel.close_review() is False
    hands.press("S")
    assert (hands.verdict(file="b.dcm").confidence, hands.file) == (4, "c.dcm")


def test_no_reader_no_review(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    hands.start(results, tiny_folder, name="  ")
    assert hands.panel.review is None
    assert "reader's name" in hands.ui.sessionMessage.text


def test_an_empty_folder_is_told(hands: ReaderHands, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    hands.start(tmp_path / "empty", None, source="folder")
    assert "no radiograph in it" in hands.ui.sessionMessage.text


# --- in the application -------------------------------------------------------------------------------


def test_keys_are_other_modules_own(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    hands.start(results, tiny_folder)
    hands.panel.exit()
    hands.press("NS")
    assert hands.file == "b.dcm"
    assert list(hands.panel.controller.session.verdicts) == []
    hands.panel.enter()
    hands.press("NS")
    assert hands.file == "c.dcm"


def test_window_layout_is_one_slice(hands: ReaderHands) -> None:
    assert hands.application.layouts == [slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView]


def test_no_patient_and_no_path_is_in_the_scene(
    hands: ReaderHands, results: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    hands.start(results, tiny_folder)
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Commit()
    text = (tmp_path / "scene.mrml").read_text()
    assert "Radiograph" in text
    assert [word for word in ("Testperson", "TEST-1", "19700101", "b.dcm") if word in text] == []


def test_shortcut_keys_are_all_distinct() -> None:
    from BoneXRayReviewLib.shortcuts import SHORTCUTS

    keys = [key for key, _, _ in SHORTCUTS]
    assert len(keys) == len(set(keys))
