"""What goes out of a review: verified reports, the export, an adapted model."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from highdicom.sr import srread
from reader import ReaderHands
from review.probe_site import site_images, write_probe_model

from monai_bone_ssl.model.folder import current_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.review.adaptation.gate import FIGURE_NAMES


def test_verified_reports(hands: ReaderHands, images: Path, tiny_folder: Path, tmp_path: Path) -> None:
    hands.start(images, tiny_folder, source="folder")
    hands.analyse()
    hands.open_section("finishSection")
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
    hands.open_section("finishSection")
    hands.ui.outputPath.currentPath = str(tmp_path / "out")
    hands.click("reportsButton")
    assert "organization" in hands.ui.finishLabel.text.lower()
    assert list((tmp_path / "out").iterdir()) == []


def test_export(hands: ReaderHands, results: Path, tiny_folder: Path, tmp_path: Path) -> None:
    hands.start(results, tiny_folder)
    hands.press("A5SU")  # the second one is saved by the export
    hands.open_section("finishSection")
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
    hands.open_section("finishSection")
    hands.ui.outputPath.currentPath = str(tmp_path / "file")
    hands.click("exportButton")
    assert str(tmp_path / "file") in hands.ui.finishLabel.text


@pytest.fixture
def site(hands: ReaderHands, tmp_path: Path) -> ReaderHands:
    """80 images of 40 patients, analysed and read, the model's answer wrong about half of them."""
    truth = site_images(tmp_path / "site", 40)
    hands.start(tmp_path / "site", write_probe_model(tmp_path / "probe_model"), source="folder")
    hands.analyse()
    hands.read_as(truth)
    hands.open_section("adaptationSection")
    hands.ui.storePath.currentPath = str(tmp_path / "store")
    return hands


def test_adapt_adopt_and_roll_back(site: ReaderHands, tmp_path: Path) -> None:
    assert not site.ui.adoptButton.enabled
    site.click("adaptButton")
    site.wait(site.panel.tasks)
    assert "is better (80 verdicts, 40 abnormal, 40 patients)" in site.ui.adaptationLabel.text
    names = [" ".join(row[0].split()) for row in site.table("figuresTable")]
    assert names == list(FIGURE_NAMES.values())
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
    hands.open_section("adaptationSection")
    hands.click("adaptButton")
    assert "no model store" in hands.ui.adaptationLabel.text
    hands.ui.storePath.currentPath = str(tmp_path / "store")
    hands.click("adaptButton")
    hands.wait(hands.panel.tasks)
    assert "20" in hands.ui.adaptationLabel.text
    assert not hands.ui.adoptButton.enabled
    assert not (tmp_path / "store" / "current.json").exists()
