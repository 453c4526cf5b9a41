"""The bundle in the MONAI Deploy App SDK's own MonaiBundleInferenceOperator."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from analyses import ROOT
from outside import interpreter
from pydicom_files import real_radiograph

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.model.preprocessing import preprocess

from .bundle_commands import BUNDLE

PROGRAM = Path(__file__).with_name("deploy_operator.py")


@pytest.fixture(scope="module")
def python() -> Path:
    return interpreter("BONE_SSL_DEPLOY_TRAIN_PYTHON", "the MONAI Deploy App SDK and the train extra")


def test_the_operator_gives_the_shipped_models_answer(python, torchscript, shipped, tmp_path):
    radiograph = real_radiograph("RG3_UNCR.dcm")
    where = "import importlib.util as u; print(*u.find_spec('nvidia').submodule_search_locations, sep=':')"
    nvidia = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    libraries = ":".join(f"{folder}/cu13/lib" for folder in nvidia.split(":"))
    environment = os.environ | {
        "LD_LIBRARY_PATH": libraries,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    command = [python, "-B", PROGRAM, torchscript, radiograph, tmp_path / "pred.npy"]
    done = subprocess.run(
        command, cwd=BUNDLE, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    pred = np.load(tmp_path / "pred.npy")
    image = preprocess(read_radiograph(radiograph).pixels, shipped.spec.preprocessing)[None, None]
    expected = shipped.predict(image)
    assert pred.dtype == np.float32
    np.testing.assert_allclose(pred[0], expected.patch_scores[0], atol=1e-3)
    np.testing.assert_allclose(pred[1], expected.contribution[0], atol=1e-3)
    scores = [expected.logits[0], expected.distance[0], *expected.body_part_logits[0]]
    np.testing.assert_allclose(pred[2:, 0, 0], scores, atol=1e-3)
