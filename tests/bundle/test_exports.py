"""MONAI's own checks and exports of the shipped model, and one answer from all of its forms."""

from __future__ import annotations

import csv
import json
import math
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("monai", reason="needs the train extra")
pytest.importorskip("fire", reason="needs fire, which monai.bundle's command line is made with")

from dicom_factory import limb_pixels, make_radiograph  # noqa: E402 - after the extra was found
from PIL import Image  # noqa: E402
from pydicom_files import real_radiograph  # noqa: E402

from monai_bone_ssl.pipeline import analyse  # noqa: E402
from monai_bone_ssl.preprocessing import preprocess  # noqa: E402
from monai_bone_ssl.radiograph import read_radiograph  # noqa: E402
from monai_bone_ssl.training.bundle.network import load_map_network, split_map  # noqa: E402

from .bundle_commands import BUNDLE, run  # noqa: E402

pytestmark = pytest.mark.train

INFERENCE = ("--config_file", BUNDLE / "configs" / "inference.json", "--bundle_root", BUNDLE)
NETWORK = ("--net_id", "network_def", "--meta_file", BUNDLE / "configs" / "metadata.json", *INFERENCE)


@pytest.fixture(scope="module")
def state_dict(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    run("--run_id", "save_weights", *INFERENCE, "--ckpt_path", path)
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A tibia, a chest, and a drawing of a limb that no radiograph looks like."""
    folder = tmp_path_factory.mktemp("study")
    for name in ("RG3_UNCR.dcm", "RG1_UNCR.dcm"):
        shutil.copy(real_radiograph(name), folder / name)
    make_radiograph(folder / "made.dcm", limb_pixels())
    return folder


@pytest.fixture(scope="module")
def predicted(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicted")
    run(*INFERENCE, "--dataset_dir", study, "--output_dir", out)
    return out


@pytest.fixture(scope="module")
def tibia(study, shipped):
    """The network's input of a real radiograph, [1, 1, H, W]."""
    pixels = read_radiograph(study / "RG3_UNCR.dcm").pixels
    return preprocess(pixels, shipped.spec.preprocessing)[None, None]


def _rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "predictions.csv").open() as file:
        return {Path(row["path"]).name: row for row in csv.DictReader(file)}


def test_monai_verifies_input_and_output():
    said = run(*NETWORK, "--n", "3", verb="verify_net_in_out")
    assert "data shape of network is verified with no error" in said


def test_the_state_dict_loads_without_pickle(state_dict):
    state = torch.load(state_dict, weights_only=True)
    network = load_map_network(str(BUNDLE / "models"))
    network.load_state_dict(state)
    assert all(value.dtype == torch.float32 for value in state.values())


def test_torchscript_gives_the_same_map_at_any_size(state_dict, tmp_path, tibia):
    path = tmp_path / "model.ts"
    run(*NETWORK, "--ckpt_file", state_dict, "--filepath", path, "--use_trace", "True", verb="ckpt_export")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about TorchScript itself
        scripted = torch.jit.load(path)
    network = load_map_network(str(BUNDLE / "models"))
    for image in (torch.from_numpy(tibia), torch.rand(2, 1, 70, 140)):
        with torch.inference_mode():
            torch.testing.assert_close(scripted(image), network(image), atol=1e-4, rtol=0)


def test_onnx_export_gives_the_shipped_models_logit(state_dict, tmp_path, tibia, shipped):
    path = tmp_path / "export.onnx"
    shape = json.dumps(list(tibia.shape))
    run(*NETWORK, "--ckpt_file", state_dict, "--filepath", path, "--input_shape", shape, verb="onnx_export")
    session = ort.InferenceSession(path)
    (pred,) = session.run(None, {session.get_inputs()[0].name: tibia})
    scores = split_map(torch.from_numpy(pred[0]))
    expected = shipped.predict(tibia)
    assert abs(scores.logit - expected.logits[0]) < 1e-3
    np.testing.assert_allclose(scores.evidence, expected.evidence[0], atol=1e-3)


def test_inference_and_analyze_agree(study, predicted, shipped, tmp_path):
    """The other front on the same files: status, reason, body part, decision and, to 1e-3, the logit."""
    rows = _rows(predicted)
    found = json.loads((predicted / "predictions.json").read_text())
    assert found["model"]["sha256"] == shipped.spec.weights_sha256
    results = {Path(image["path"]).name: image for image in found["images"]}
    analysed = 0
    for image in analyse([study], tmp_path / "analysis", shipped).images:
        name = Path(image.path).name
        one = results[name]
        assert one["status"] == rows[name]["status"] == image.status
        assert one["decision"] == image.decision
        if image.reason is not None:
            assert one["reason"]["code"] == rows[name]["reason"] == image.reason.code
            assert one["probability"] is one["logit"] is None
            continue
        analysed += 1
        assert one["body_part"]["value"] == image.body_part.value
        assert one["body_part"]["source"] == image.body_part.source
        assert (one["peak"]["row"], one["peak"]["column"]) == (image.peak.row, image.peak.column)
        logit = shipped.predict(
            preprocess(read_radiograph(study / name).pixels, shipped.spec.preprocessing)[None, None]
        ).logits[0]
        assert abs(one["logit"] - logit) < 1e-3
        assert abs(float(rows[name]["logit"]) - logit) < 1e-3
        assert math.isclose(one["probability"], image.probability, abs_tol=1e-3)
    assert analysed >= 1
    assert len(results) == 3


def test_saved_evidence_sums_to_the_logit_and_lies_as_the_image_does(predicted, tibia, shipped):
    with Image.open(predicted / "RG3_UNCR.dcm_evidence.tiff") as picture:
        evidence = np.asarray(picture)
    expected = shipped.predict(tibia)
    np.testing.assert_allclose(evidence, expected.evidence[0], atol=1e-3)
    logit = float(_rows(predicted)["RG3_UNCR.dcm"]["logit"])
    assert abs(evidence.sum(dtype=np.float64) + expected.offset[0] - logit) < 1e-3
    with Image.open(predicted / "RG3_UNCR.dcm_overlay.png") as overlay:
        assert overlay.mode == "RGB"


def test_an_image_that_is_not_analysed_gets_no_map(predicted):
    assert not list(predicted.glob("RG1_UNCR*"))
