"""Inference from a copy of the bundle, where only the wheel is installed: the checkout is out of reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from analyses import ROOT
from pydicom_files import real_radiograph

pytestmark = pytest.mark.slow


def _run(*command: str | Path, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """An interpreter that has the wheel, and the heavy libraries of the test environment by a .pth file."""
    folder = tmp_path_factory.mktemp("clean")
    wheel = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", folder)
    _run(*wheel, ROOT, folder=folder)
    _run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    interpreter = folder / "venv" / "bin" / "python"
    own = Path(
        _run(
            interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder
        ).strip()
    )
    _run(interpreter, "-m", "pip", "install", "-q", "--no-deps", *folder.glob("*.whl"), folder=folder)
    (own / "heavy.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


def test_a_copied_bundle_runs_with_the_wheel_alone(python, tmp_path):
    copy = shutil.copytree(ROOT / "bundle", tmp_path / "copied")
    (tmp_path / "in").mkdir()
    shutil.copy(real_radiograph("RG3_UNCR.dcm"), tmp_path / "in")
    where = _run(python, "-c", "import monai_bone_ssl; print(monai_bone_ssl.__file__)", folder=copy)
    assert str(ROOT) not in where
    inference = ("-m", "monai.bundle", "run", "--config_file", "configs/inference.json")
    _run(python, *inference, "--dataset_dir", "../in", "--output_dir", "../out", folder=copy)
    assert len((tmp_path / "out" / "predictions.csv").read_text().splitlines()) == 2
    assert (tmp_path / "out" / "RG3_UNCR.dcm_overlay.png").is_file()
