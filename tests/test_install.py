"""The core installed from its wheel in an environment of its own (``make core``) analyses alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from analyses import ROOT
from outside import environment
from pydicom_files import real_radiograph

from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import analyse


@pytest.fixture(scope="module")
def core() -> Path:
    """The environment's interpreter."""
    return environment("core", ".venv")


def test_core_has_what_an_analysis_needs_and_gives_the_same_answer(core: Path, tmp_path: Path) -> None:
    image = real_radiograph("RG3_J2KR.dcm")
    command = [core.with_name("bone-ssl"), "analyze", image, "-o", "core"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    alone = json.loads((tmp_path / "core" / "result.json").read_bytes())
    assert [path.suffix for path in sorted((tmp_path / "core").glob("SR_*"))] == [".dcm"]

    analyse([image], tmp_path / "here", Model(default_model_folder()))
    here = json.loads((tmp_path / "here" / "result.json").read_bytes())
    for result in (alone, here):
        del result["images"][0]["seconds"]
    assert alone == here
    assert alone["images"][0]["status"] == "analysed"


@pytest.mark.parametrize("library", ["torch", "monai", "sklearn", "matplotlib", "pandas"])
def test_core_goes_without(core: Path, library: str) -> None:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({library!r}) is not None)"
    assert subprocess.run([core, "-c", code], check=False).returncode == 0


def test_core_ships_its_model(core: Path, tmp_path: Path) -> None:
    code = "from monai_bone_ssl.model.folder import default_model_folder as folder; print(folder())"
    run = subprocess.run([core, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    shipped = Path(run.stdout.strip())
    assert core.parents[1] in shipped.parents
    bundle = ROOT / "bundle" / "models"
    for name in ("cases.npz", "model.json", "model.onnx"):
        assert (shipped / name).read_bytes() == (bundle / name).read_bytes()
