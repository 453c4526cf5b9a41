"""The panel as a reader sees it, with a real radiograph and the model that comes with the package.

With BONE_SSL_SCREENSHOTS set to a folder, the pictures are kept there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import limb_pixels, make_radiograph
from doubles.application import PANEL_WIDTH
from PIL import Image
from pydicom_files import real_radiograph
from reader import ReaderHands
from review.probe_site import site_images, write_probe_model

from monai_bone_ssl.model.folder import default_model_folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("BONE_SSL_SCREENSHOTS", tmp_path / "screenshots"))
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def radiographs(tmp_path: Path) -> Path:
    """A distal tibia, a chest, and a drawing."""
    folder = tmp_path / "radiographs"
    folder.mkdir()
    for name in ("RG3_UNCR.dcm", "RG1_UNCR.dcm"):
        shutil.copy(real_radiograph(name), folder)
    make_radiograph(folder / "drawing.dcm", limb_pixels(240, 200), body_part="HAND")
    return folder


def take(hands: ReaderHands, path: Path) -> np.ndarray:
    """Take a screenshot and make sure that nothing is cut off."""
    hands.application.screenshot(path)
    bar = hands.application.panel.horizontalScrollBar()
    assert bar.maximum() == 0, "the panel is wider than it is shown"
    assert hands.application.panel.width() == PANEL_WIDTH
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def colourful(picture: np.ndarray) -> np.ndarray:
    """Where the slice view shows colour."""
    view = picture[:, PANEL_WIDTH + 20 :]
    return (view.max(axis=2) - view.min(axis=2)) > 40


def test_pictures_of_a_review(
    hands: ReaderHands,
    radiographs: Path,
    pictures: Path,
) -> None:
    hands.application.show(1180, 1010)
    take(hands, pictures / "start.png")
    hands.start(radiographs, default_model_folder(), source="folder", name="Doe^Anna")
    hands.analyse()
    tibia = next(
        row for row, case in enumerate(hands.panel.controller.cases) if case.path.name == "RG3_UNCR.dcm"
    )
    hands.double_click("worklistTable", tibia)
    hands.wait(hands.panel.case_view.similar.runner)
    hands.press("H")
    hidden = take(hands, pictures / "hidden.png")
    hands.press("H")
    hands.panel.viewer.place("box")
    (box,) = hands.panel.viewer.markups.nodes()
    box.SetCenter(-850.0, -1110.0, 0.0)
    box.SetSize(150.0, 260.0, 1.0)
    box.GetDisplayNode().SetHandlesInteractive(False)
    hands.press("D4")
    hands.ui.commentEdit.plainText = "Lytic lesion with a sclerotic rim, no fracture line."
    shown = take(hands, pictures / "reading.png")
    assert colourful(shown).sum() > 500
    assert not colourful(hidden).any()


def test_picture_of_an_adaptation(
    hands: ReaderHands,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a model and a site made for the test."""
    monkeypatch.chdir(tmp_path)  # so that the picture shows no path of this machine
    truth = site_images(tmp_path / "site", 40)
    hands.start(tmp_path / "site", write_probe_model(tmp_path / "model"), source="folder", name="Doe^Anna")
    hands.analyse()
    hands.read_as(truth)
    for name in ("imageSection", "verdictSection"):
        getattr(hands.ui, name).collapsed = True
    hands.ui.adaptationSection.collapsed = False
    hands.ui.storePath.currentPath = "model_store"
    hands.application.show(1180, 800)
    hands.click("adaptButton")
    hands.wait(hands.panel.tasks)
    take(hands, pictures / "adaptation.png")
    assert hands.ui.adoptButton.enabled


def test_picture_of_a_blinded_review(
    hands: ReaderHands,
    radiographs: Path,
    pictures: Path,
) -> None:
    hands.application.show(1180, 860)
    hands.start(radiographs, default_model_folder(), source="folder", name="Doe^Anna", blinded=True)
    hands.analyse()
    picture = take(hands, pictures / "blinded.png")
    assert not colourful(picture).any()
