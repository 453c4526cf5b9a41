"""The module in the application: package, sample data, layout, keys, its own self-test."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
from BoneXRayReviewLib import dependencies, sample_data
from doubles.application import Application, SampleDataLogic
from pydicom_files import real_radiograph
from reader import ReaderHands


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


def test_keys_are_other_modules_own(hands: ReaderHands, results: Path, tiny_folder: Path) -> None:
    hands.start(results, tiny_folder)
    hands.panel.exit()
    hands.press("NS")
    assert hands.file == "b.dcm"
    assert list(hands.panel.controller.session.verdicts) == []
    hands.panel.enter()
    hands.press("NS")
    assert hands.file == "c.dcm"


def test_keys_do_nothing_before_a_review(hands: ReaderHands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do they look for the package, which may not be installed yet."""
    monkeypatch.setitem(sys.modules, "monai_bone_ssl.review.verdict", None)
    hands.press("NAF1S>R")
    assert hands.message == ""


def test_window_layout_is_one_slice(hands: ReaderHands) -> None:
    assert hands.application.layouts == [slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView]


def test_shortcut_keys_are_all_distinct() -> None:
    from BoneXRayReviewLib.shortcuts import SHORTCUTS

    keys = [key for key, _, _ in SHORTCUTS]
    assert len(keys) == len(set(keys))
