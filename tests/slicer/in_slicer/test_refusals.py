"""Damaged input, vanished files and full disks: told in one line, and nothing is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import node_names
from reader import ReaderHands


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
    hands.analyse()
    assert "sha256" in hands.message
    assert {row[2] for row in hands.table("worklistTable")} == {"no result yet"}


def test_a_verdict_that_cannot_be_written_stays_on_the_screen(
    hands: ReaderHands, results: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.start(results, tiny_folder)

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        hands.press("A4S")
        assert hands.file == "b.dcm"
        assert "No space left" in hands.message
        assert "No space left" in hands.application.errors[0]  # and a dialog
        assert hands.panel.close_review() is False
    hands.press("S")
    assert (hands.verdict(file="b.dcm").confidence, hands.file) == (4, "c.dcm")


def test_a_verdict_that_a_crash_cut_short_is_told(
    hands: ReaderHands, results: Path, tiny_folder: Path
) -> None:
    hands.start(results, tiny_folder)
    hands.press("AS")
    hands.panel.close_review()
    (journal,) = hands.review.glob("journal_*")
    lines = journal.read_bytes().splitlines(keepends=True)  # who reads, opened, saved, opened, closed
    journal.write_bytes(b"".join(lines[:2]) + lines[2][:-9])
    hands.start(results, tiny_folder)
    assert hands.file == "b.dcm"
    assert "what it was saving is lost" in hands.message
    assert not hands.ui.normalButton.checked
    assert not hands.ui.abnormalButton.checked


def test_no_reader_no_review(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    hands.start(results, tiny_folder, name="  ")
    assert hands.panel.review is None
    assert "reader's name" in hands.ui.sessionMessage.text


def test_an_empty_folder_is_told(hands: ReaderHands, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    hands.start(tmp_path / "empty", None, source="folder")
    assert "no radiograph in it" in hands.ui.sessionMessage.text
