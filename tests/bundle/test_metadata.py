"""metadata.json against the published fields, and against the definitions it is made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from monai_bone_ssl.model.inference import OUTPUT_NAMES, Model
from monai_bone_ssl.training.bundle.metadata import contract, update

from .bundle_commands import BUNDLE, run, start

METADATA = BUNDLE / "configs" / "metadata.json"
SCHEMA = Path(__file__).parent / "meta_schema.json"


@pytest.fixture(scope="module")
def stated():
    return json.loads(METADATA.read_text())


def test_monai_verifies_it():
    said = run("--meta_file", METADATA, "--filepath", SCHEMA, verb="verify_metadata")
    assert "metadata is verified with no error" in said


def test_the_schema_refuses_what_is_wrong(stated, tmp_path):
    wrong = tmp_path / "metadata.json"
    wrong.write_text(json.dumps(stated | {"monai_version": 1.6}))
    done = start("verify_metadata", "--meta_file", wrong, "--filepath", SCHEMA)
    assert done.returncode != 0
    assert "monai_version" in done.stderr or "1.6" in done.stderr


def test_it_states_what_the_package_defines(stated, shipped):
    defined = contract(shipped.spec)
    assert {name: stated[name] for name in defined} == defined, (
        "metadata.json is out of date: python -m monai_bone_ssl.training.bundle.metadata bundle"
    )
    assert stated["version"] in stated["changelog"]


def test_its_update_mends_what_is_out_of_date(stated, tmp_path):
    copy = shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("*.pt", "*.ts"))
    path = copy / "configs" / "metadata.json"
    path.write_text(json.dumps(stated | {"numpy_version": "1.0", "network_data_format": {}}))
    update(copy)
    assert json.loads(path.read_text()) == stated


def test_it_is_true_to_the_model_file(stated, shipped: Model):
    """The other definition of input and output: the ONNX file, with another output layout."""
    import onnxruntime as ort

    session = ort.InferenceSession(BUNDLE / "models" / "model.onnx")
    image = stated["network_data_format"]["inputs"]["image"]
    assert session.get_inputs()[0].shape[1] == image["num_channels"] == 1
    assert [f"{shipped.spec.preprocessing.patch_size}*n"] * 2 == image["spatial_shape"]
    widths = dict(zip(OUTPUT_NAMES, (output.shape for output in session.get_outputs()), strict=True))
    pred = stated["network_data_format"]["outputs"]["pred"]
    # Patch score, contribution, logit and distance have a channel each.
    assert pred["num_channels"] == len(pred["channel_def"]) == 4 + widths["body_part_logits"][1]


def test_every_published_version_is_that_of_the_constraints(stated):
    pins = dict(
        line.split("==") for line in (BUNDLE.parent / "constraints.txt").read_text().split() if "==" in line
    )
    versions = stated["required_packages_version"] | {
        "monai": stated["monai_version"],
        "torch": stated["pytorch_version"],
        "numpy": stated["numpy_version"],
    }
    del versions["monai-bone-ssl"]
    assert {name: pins[name] for name in versions} == versions
