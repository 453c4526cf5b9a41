"""Reading a worklist with keys and clicks, as a reader does: what is on the screen, what on the disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import slicer
import slicer.util
from dicom_factory import limb_pixels, make_radiograph
from doubles.application import Application
from PySide6.QtTest import QTest
from reader import ReaderHands

from monai_bone_ssl.findings import Decision
from monai_bone_ssl.review.verdict import Agreement, Reading
from monai_bone_ssl.review.worklist import worklist_from_paths


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


def test_regions_are_shown_until_one_key_hides_them(
    hands: ReaderHands, results: Path, tiny_folder: Path
) -> None:
    hands.start(results, tiny_folder)
    assert "Regions: 1 certain" in hands.words()
    assert hands.is_coloured()
    hands.press("G")
    assert not hands.is_coloured()
    hands.press("><")
    assert hands.file == "b.dcm"
    assert not hands.is_coloured()  # and they stay hidden
    hands.press("G")
    assert hands.is_coloured()
    hands.press("A")
    hands.press("S")
    assert hands.verdict(file="b.dcm").locations == ()  # none of the reader's own


def test_one_key_shows_the_evidence(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    hands.start(results, tiny_folder)
    hands.press("G")
    assert not hands.is_coloured()
    hands.press("H")
    assert hands.is_coloured()
    hands.press(">")
    assert hands.is_coloured()  # and it stays shown
    hands.ui.opacitySlider.value = 0.0
    assert not hands.is_coloured()
    hands.ui.opacitySlider.value = 1.0
    hands.ui.thresholdSlider.value = 1.0
    hands.press("<")
    assert hands.panel.viewer.evidence.GetDisplayNode().GetLowerThreshold() == pytest.approx(1.0)


def test_without_the_model_regions_are_shown_all_the_same(hands: ReaderHands, results: Path) -> None:
    hands.start(results, None)
    assert hands.is_coloured()
    assert "positive, probability 0.98" in hands.words()


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
