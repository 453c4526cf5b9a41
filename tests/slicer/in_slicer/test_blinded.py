"""Blinded readings, and several readers of one review."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from BoneXRayReviewLib.region_frames import NODE_NAME
from conftest import model_names, node_names
from doubles.application import Application
from reader import ReaderHands

from monai_bone_ssl.model.folder import read_spec
from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.verdict import Reading
from monai_bone_ssl.review.worklist import worklist_from_results

_BETRAYING = (
    "positive",
    "negative",
    "indeterminate",
    "0.98",
    "0.49",
    "Suspected",
    "Regions",
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
        assert NODE_NAME not in model_names()
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
    assert NODE_NAME in model_names()
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
