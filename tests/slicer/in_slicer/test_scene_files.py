"""Scenes that are saved, loaded and closed in the middle of a review."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from conftest import node_names
from reader import ReaderHands

from monai_bone_ssl.review.reader import Reader
from monai_bone_ssl.review.session import ReviewSession
from monai_bone_ssl.review.verdict import Reading


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
    hands.press("H")  # with the evidence
    hands.ui.opacitySlider.value = 0.7
    hands.ui.thresholdSlider.value = 0.2
    before = hands.view().astype(int)
    _save_scene(tmp_path / "scene.mrb")
    hands.press("S")  # somebody goes on before the scene is loaded again
    assert hands.file == "d.dcm"
    _load_scene(tmp_path / "scene.mrb")
    assert hands.panel.review is not None
    assert hands.file == "c.dcm"
    assert hands.ui.filterComboBox.currentIndex == 1
    assert hands.ui.readerEdit.text == "Reader^One"
    assert hands.ui.sessionPath.currentPath == str(hands.review)
    assert (hands.ui.opacitySlider.value, hands.ui.thresholdSlider.value) == (0.7, 0.2)
    assert hands.ui.uncertainButton.checked
    (location,) = hands.panel.controller.draft.locations
    assert location.points == (pytest.approx((20, 10)),)
    assert node_names() == ["Radiograph", "Evidence"]  # once, not twice
    assert hands.is_coloured()
    assert np.abs(hands.view() - before).mean() < 1.0  # window, colours, overlay and mark
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


def test_no_patient_and_no_path_is_in_a_scene_file(
    hands: ReaderHands, results: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    hands.start(results, tiny_folder)
    hands.panel.viewer.place("point")
    hands.panel.viewer.markups.nodes()[0].AddControlPoint(-1.5, -3.0, 0.0)
    _save_scene(tmp_path / "scene.mrb")
    with zipfile.ZipFile(tmp_path / "scene.mrb") as archive:
        text = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    assert b"Radiograph" in text
    assert [word for word in (b"Testperson", b"TEST-1", b"19700101", b"b.dcm") if word in text] == []
