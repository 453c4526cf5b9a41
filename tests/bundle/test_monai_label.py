"""The bundle in MONAI Label's BundleInferTask, with the weights of models/model.pt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from analyses import ROOT
from outside import interpreter
from pydicom_files import real_radiograph

from monai_bone_ssl.pipeline import analyse

from .bundle_commands import BUNDLE

PROGRAM = Path(__file__).with_name("monai_label.py")


@pytest.fixture(scope="module")
def python() -> Path:
    return interpreter("BONE_SSL_MONAI_LABEL_PYTHON", "MONAI Label and the train extra")


def test_the_task_gives_the_answer_of_an_analysis(python, state_dict, shipped, tmp_path):
    copy = shutil.copytree(BUNDLE, tmp_path / "bone_xray_ssl_classification")
    shutil.copy(state_dict, copy / "models" / "model.pt")
    radiograph = real_radiograph("RG3_UNCR.dcm")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [python, "-B", PROGRAM, copy, radiograph]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    (expected,) = analyse([radiograph], tmp_path / "out", shipped).images
    assert answer["type"] == "classification"
    assert answer["finding"]["status"] == expected.status
    assert answer["finding"]["decision"] == expected.decision
    assert answer["finding"]["probability"] == pytest.approx(expected.probability, abs=1e-3)
