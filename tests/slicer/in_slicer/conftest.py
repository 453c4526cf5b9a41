"""Fixtures of the tests that run inside the Slicer environment; see ../test_in_slicer.py."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from application_stub import MODULE
from BoneXRayReviewLib.viewer import Viewer
from dicom_factory import make_radiograph
from doubles.application import Application
from doubles.pythonqt import wrap
from PySide6 import QtWidgets
from reader import ReaderHands
from scene import new_scene
from tiny_model import draw, write_tiny_model

from monai_bone_ssl.analysis import AnalysedImage, analyse_file
from monai_bone_ssl.dicom.collect import find_files, group_by_study
from monai_bone_ssl.findings import study_finding
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import combine
from monai_bone_ssl.show.results import result_json
from monai_bone_ssl.shown_image import PatchMap


@pytest.fixture(scope="session")
def qt_application() -> QtWidgets.QApplication:
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose answers a test works out by hand, see tests/tiny_model.py."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(autouse=True)
def no_hidden_error(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Errors in observers and slots, which VTK and Qt print and forget."""
    errors: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda _kind, error, _traceback: errors.append(error))
    yield
    if errors:
        raise errors[0]


@pytest.fixture
def application(tmp_path: Path, qt_application: QtWidgets.QApplication) -> Iterator[Application]:
    """A new application with an empty scene."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    assert qt_application is QtWidgets.QApplication.instance()
    application = Application(folder)
    application.install()
    yield application
    application.close()


@pytest.fixture
def logic() -> Iterator[Any]:
    """An empty scene without a window, as its application logic."""
    yield new_scene()
    slicer.mrmlScene.Clear(True)


@pytest.fixture
def viewer(logic: Any) -> Viewer:
    """What shows a case in that scene."""
    volumes = slicer.vtkSlicerVolumesLogic()
    volumes.SetMRMLApplicationLogic(logic)
    volumes.SetMRMLScene(slicer.mrmlScene)
    return Viewer(logic, volumes, lambda: None)


@pytest.fixture
def make_panel(application: Application) -> Iterator[Callable[[], Any]]:
    """Makes the module's panel, as the application does when the module is opened."""
    application.module_path = str(MODULE / "BoneXRayReview.py")
    module = importlib.import_module("BoneXRayReview")
    made: list[Any] = []

    def make() -> Any:
        widget = module.BoneXRayReviewWidget(wrap(application.inner))
        widget.setup()
        application.show()
        widget.enter()
        made.append(widget)
        return widget

    yield make
    for widget in made:
        widget.cleanup()


@pytest.fixture
def hands(application: Application, make_panel: Callable[[], Any], tmp_path: Path) -> ReaderHands:
    """A reader at the panel, with a review folder of his own."""
    return ReaderHands(application, make_panel(), tmp_path / "review")


#: File -> share of the picture that is bright, part, and patch that is a region.
PICTURES = {
    "a.dcm": (0.2, "hand", None),
    "b.dcm": (0.8, "hand", (5, 3)),
    "c.dcm": (0.5, "hand", None),
    "d.dcm": (0.8, "hip", None),
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four radiographs of four patients; a: negative, b: positive, c: indeterminate, d: not analysed.

    b has one region, a certain one.
    """
    folder = tmp_path / "images"
    folder.mkdir()
    for number, (name, (bright, part, peak)) in enumerate(PICTURES.items()):
        make_radiograph(
            folder / name,
            draw(bright, part, peak=peak, seed=number),
            body_part="",
            patient_id=f"TEST-{number}",
            patient_name=f"Testperson^{name[0].upper()}",
        )
    return folder


@pytest.fixture
def results(images: Path, tiny_folder: Path, tmp_path: Path) -> Path:
    """result.json and the evidence maps of the images, as ``analyze --evidence`` writes them."""
    out = tmp_path / "results"
    write_results(images, out, Model(tiny_folder))
    return out


def write_results(images: Path, out: Path, model: Model) -> None:
    """Analyse a folder; no reports and no pictures."""
    out.mkdir()
    found, studies = [], []
    for study in group_by_study(find_files([images], skip=out)):
        analysed = [analyse_file(source, model) for source in study.sources]
        findings = [image.finding for image in analysed]
        for image in analysed:
            if isinstance(image, AnalysedImage):
                np.save(out / PatchMap.EVIDENCE.file_name(image.finding.sop_instance_uid), image.evidence)
        found += findings
        studies.append(study_finding(study.study_instance_uid, findings))
    (out / "result.json").write_bytes(result_json(combine(found, studies, model)))


def node_names() -> list[str]:
    """Names of all volumes in the scene."""
    return _names("vtkMRMLVolumeNode")


def model_names() -> list[str]:
    """Names of all models in the scene, the slice views' own among them."""
    return _names("vtkMRMLModelNode")


def _names(kind: str) -> list[str]:
    scene = slicer.mrmlScene
    count = scene.GetNumberOfNodesByClass(kind)
    return [scene.GetNthNodeByClass(index, kind).GetName() for index in range(count)]
