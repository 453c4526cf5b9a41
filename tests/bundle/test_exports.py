"""MONAI's own checks and exports of the shipped model, and one answer from all of its forms."""

from __future__ import annotations

import csv
import json
import math
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from dicom_factory import limb_pixels, make_radiograph
from PIL import Image
from pydicom_files import real_radiograph

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.findings import BodyPart, Refused
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.pipeline import analyse
from monai_bone_ssl.training.bundle.network import load_map_network, split_map

from .bundle_commands import BUNDLE, INFERENCE, NETWORK, run


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


def _assert_same_part(found: dict[str, Any] | None, expected: BodyPart | None) -> None:
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found["value"], found["source"]) == (expected.value, expected.source)
    assert found["confidence"] == pytest.approx(expected.confidence, abs=1e-3)


def test_monai_verifies_input_and_output():
    said = run(*NETWORK, "--n", "3", verb="verify_net_in_out")
    assert "data shape of network is verified with no error" in said


def test_the_state_dict_loads_without_pickle(state_dict):
    state = torch.load(state_dict, weights_only=True)
    network = load_map_network(str(BUNDLE / "models"))
    network.load_state_dict(state)
    assert all(value.dtype == torch.float32 for value in state.values())


def test_torchscript_gives_the_same_map_at_any_size(torchscript, tibia):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about TorchScript itself
        scripted = torch.jit.load(torchscript)
    network = load_map_network(str(BUNDLE / "models"))
    for image in (torch.from_numpy(tibia), torch.rand(2, 1, 70, 140)):
        with torch.inference_mode():
            torch.testing.assert_close(scripted(image), network(image), atol=1e-4, rtol=0)


def test_torchscript_carries_the_configurations(torchscript):
    """MONAI Deploy reads them from there."""
    with zipfile.ZipFile(torchscript) as archive:
        names = {Path(name).name for name in archive.namelist() if "/extra/" in name}
    assert {"metadata.json", "inference.json"} <= names


def test_onnx_export_gives_the_shipped_models_logit(state_dict, tmp_path, tibia, shipped):
    path = tmp_path / "export.onnx"
    shape = json.dumps(list(tibia.shape))
    run(*NETWORK, "--ckpt_file", state_dict, "--filepath", path, "--input_shape", shape, verb="onnx_export")
    session = ort.InferenceSession(path)
    (pred,) = session.run(None, {session.get_inputs()[0].name: tibia})
    scores = split_map(torch.from_numpy(pred[0]))
    expected = shipped.predict(tibia)
    assert abs(scores.logit - expected.logits[0]) < 1e-3
    np.testing.assert_allclose(scores.patch_scores, expected.patch_scores[0], atol=1e-3)
    np.testing.assert_allclose(scores.contribution, expected.contribution[0], atol=1e-3)


def _assert_same_regions(found, expected):
    """Places to the pixel; probabilities as far as the two networks agree."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        same = ("row", "column", "height", "width", "certainty")
        assert [one[name] for name in same] == [getattr(other, name) for name in same]
        assert math.isclose(one["probability"], other.probability, abs_tol=1e-3)


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
        _assert_same_part(one["body_part"], image.body_part)
        if isinstance(image, Refused):
            assert one["reason"]["code"] == rows[name]["reason"] == image.reason.code
            assert one["decision"] is one["probability"] is one["logit"] is None
            continue
        analysed += 1
        assert one["decision"] == image.decision
        assert one["body_part"]["value"] == image.body_part.value
        assert one["body_part"]["source"] == image.body_part.source
        assert (one["peak"]["row"], one["peak"]["column"]) == (image.peak.row, image.peak.column)
        _assert_same_regions(one["regions"], image.regions)
        logit = shipped.predict(
            preprocess(read_radiograph(study / name).pixels, shipped.spec.preprocessing)[None, None]
        ).logits[0]
        assert abs(one["logit"] - logit) < 1e-3
        assert abs(float(rows[name]["logit"]) - logit) < 1e-3
        assert math.isclose(one["probability"], image.probability, abs_tol=1e-3)
    assert analysed >= 1
    assert len(results) == 3


def test_saved_evidence_is_the_probability_of_each_patch_and_lies_as_the_image_does(
    predicted, tibia, shipped
):
    with Image.open(predicted / "RG3_UNCR.dcm_evidence.tiff") as picture:
        evidence = np.asarray(picture)
    expected = shipped.predict(tibia)
    probabilities = shipped.spec.patch_probe.calibration.probabilities(expected.patch_scores[0])
    np.testing.assert_allclose(evidence, probabilities, atol=1e-3)
    with Image.open(predicted / "RG3_UNCR.dcm_overlay.png") as overlay:
        assert overlay.mode == "RGB"


def test_an_image_that_is_not_analysed_gets_no_map(predicted):
    assert not list(predicted.glob("RG1_UNCR*"))
