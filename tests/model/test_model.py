"""A model folder: trusted only whole and unaltered; contributions that add up to the logit."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from dicom_factory import limb_pixels
from numpy.typing import NDArray
from pydicom_files import real_radiograph
from tiny_model import GAIN, KNEE, OFFSET, STEEPNESS, draw, network, spec

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.inference import OUTPUT_NAMES, Device, Model, Prediction
from monai_bone_ssl.model.preprocessing import preprocess


def batch_of(*images: NDArray[np.uint16]) -> NDArray[np.float32]:
    return np.stack([image[None] / np.float32(4095) for image in images]).astype(np.float32)


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


# --- predicting ---------------------------------------------------------------------------------------------


def test_outputs_are_those_of_the_network_worked_out_by_hand(tiny: Model) -> None:
    images = batch_of(draw(0.2), draw(0.8, "leg"))
    prediction = tiny.predict(images)
    patches = images.reshape(2, 8, 8, 8, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(prediction.contribution, patches * GAIN / 64, rtol=1e-5)
    np.testing.assert_allclose(prediction.patch_scores, (patches - KNEE) * STEEPNESS, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(prediction.logits, patches.mean(axis=(1, 2)) * GAIN + OFFSET, rtol=1e-5)
    np.testing.assert_allclose(prediction.offset, [OFFSET, OFFSET])
    corners = patches[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(prediction.body_part_logits, 10 * corners, rtol=1e-5)
    assert prediction.features.shape == (2, 2)
    assert prediction.distance.shape == (2,)
    assert {a.dtype for a in vars(prediction).values()} == {np.dtype(np.float32)}


def assert_contributions_add_up(prediction: Prediction) -> None:
    total = prediction.contribution.astype(np.float64).sum(axis=(1, 2)) + prediction.offset
    np.testing.assert_allclose(total, prediction.logits, atol=1e-4, rtol=0)


def test_contributions_add_up_to_the_logit(tiny: Model) -> None:
    assert_contributions_add_up(tiny.predict(batch_of(draw(0.2), draw(0.5), draw(0.8))))


def test_contributions_of_the_shipped_model_add_up_on_a_real_and_a_synthetic_image(shipped: Model) -> None:
    real = read_radiograph(real_radiograph("RG3_UNCR.dcm")).pixels
    synthetic = (limb_pixels(300, 200) / np.float32(4095)).astype(np.float32)
    for pixels in (real, synthetic):
        image = preprocess(pixels, shipped.spec.preprocessing)
        prediction = shipped.predict(image[None, None])
        assert_contributions_add_up(prediction)
        patch = shipped.spec.preprocessing.patch_size
        grid = tuple(side // patch for side in image.shape)
        assert prediction.contribution.shape[1:] == prediction.patch_scores.shape[1:] == grid


def test_the_shipped_model_answers_the_same_alone_and_loaded_again(shipped: Model) -> None:
    image = preprocess(
        (limb_pixels(200, 260) / np.float32(4095)).astype(np.float32), shipped.spec.preprocessing
    )[None, None]
    first, second = shipped.predict(image), shipped.predict(image)
    for name in OUTPUT_NAMES:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize(("name", "logit"), [("RG1_UNCR.dcm", -1.407559), ("RG3_UNCR.dcm", -0.753520)])
def test_any_processor_gives_the_logits_of_another(shipped: Model, name: str, logit: float) -> None:
    """Logits of model 2.0.0 on an AMD EPYC with AVX-512; kernels of other processors may differ by 1e-4."""
    pixels = read_radiograph(real_radiograph(name)).pixels
    prediction = shipped.predict(preprocess(pixels, shipped.spec.preprocessing)[None, None])
    assert float(prediction.logits[0]) == pytest.approx(logit, abs=1e-4)


def test_the_answer_does_not_depend_on_the_number_of_threads(shipped: Model) -> None:
    """The logits bit for bit; how onnxruntime sums the contributions depends on it in the last digit."""
    image = preprocess(read_radiograph(real_radiograph("RG3_UNCR.dcm")).pixels, shipped.spec.preprocessing)[
        None, None
    ]
    one, *others = (Model(default_model_folder(), threads=n).predict(image) for n in (1, 3, 8))
    for other in others:
        for name in set(OUTPUT_NAMES) - {"contribution"}:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        np.testing.assert_allclose(one.contribution, other.contribution, rtol=0, atol=1e-5)


@pytest.mark.parametrize("logit", [-800.0, -3.0, 0.0, 2.0, 800.0])
def test_probability_is_the_calibrated_sigmoid(logit: float, folder: Path) -> None:
    edit(folder, lambda content: content.update(calibration={"slope": 0.5, "intercept": -1.0}))
    exact = 1 / (1 + math.exp(min(-(0.5 * logit - 1), 700)))
    assert Model(folder).spec.calibration.probability(logit) == pytest.approx(exact, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("shape", [(1, 64, 64), (1, 3, 64, 64), (1, 1, 64)])
def test_a_batch_of_the_wrong_shape_is_named(shape: tuple[int, ...], tiny: Model) -> None:
    with pytest.raises(ModelError, match=r"\(1, ") as refused:
        tiny.predict(np.zeros(shape, np.float32))
    assert refused.value.code is ReasonCode.INFERENCE_FAILED
    assert "\n" not in refused.value.text


def test_values_that_are_not_finite_are_no_answer(tiny: Model) -> None:
    with pytest.raises(ModelError, match="non-finite"):
        tiny.predict(np.full((1, 1, 64, 64), np.nan, np.float32))


# --- trusting -----------------------------------------------------------------------------------------------


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "model.json").read_bytes())
    change(content)
    (folder / "model.json").write_text(json.dumps(content))


def replace_network(folder: Path, weights: bytes) -> None:
    (folder / "model.onnx").write_bytes(weights)
    edit(folder, lambda content: content.update(weights_sha256=hashlib.sha256(weights).hexdigest()))


def flip_a_bit(folder: Path) -> None:
    weights = bytearray((folder / "model.onnx").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / "model.onnx").write_bytes(weights)


def rename_output(folder: Path) -> None:
    model = network()
    model.graph.node[-1].output[0] = model.graph.output[1].name = "tokens"
    replace_network(folder, model.SerializeToString())


def rename_input(folder: Path) -> None:
    model = network()
    model.graph.input[0].name = "picture"
    for node in model.graph.node:
        node.input[:] = ["picture" if name == "image" else name for name in node.input]
    onnx.checker.check_model(model)
    replace_network(folder, model.SerializeToString())


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "model.json: cannot be read"),
    "no weights": (lambda f: (f / "model.onnx").unlink(), "model.onnx: cannot be read"),
    "no spec": (lambda f: (f / "model.json").unlink(), "model.json: cannot be read"),
    "altered weights": (flip_a_bit, "sha256 is"),
    "not JSON": (lambda f: (f / "model.json").write_text("{model"), "model.json: JSON is malformed"),
    "not UTF-8": (lambda f: (f / "model.json").write_bytes(b'{"name": "\xff"}'), "model.json"),
    "a list": (lambda f: (f / "model.json").write_text("[]"), "Expected `object`"),
    "unknown key": (lambda f: edit(f, lambda c: c.update(extra=1)), "unknown field `extra`"),
    "unknown nested key": (lambda f: edit(f, lambda c: c["calibration"].update(extra=1)), "calibration"),
    "missing key": (lambda f: edit(f, lambda c: c.pop("calibration")), "`calibration`"),
    "wrong kind": (lambda f: edit(f, lambda c: c.update(name=3)), "name"),
    "newer schema": (lambda f: edit(f, lambda c: c.update(schema_version=3)), "schema_version"),
    "no body part": (lambda f: edit(f, lambda c: c.update(body_parts=[])), "body_parts"),
    "an older layout": (lambda f: edit(f, lambda c: c.update(evidence_limit=0.5)), "evidence_limit"),
    "certainties crossed": (
        lambda f: edit(f, lambda c: c["patch_probe"].update(possible=0.9, certain=0.1)),
        "possible <= certain",
    ),
    "points crossed": (
        lambda f: edit(
            f,
            lambda c: c["body_parts"][0].update(
                operating_points={"high_sensitivity": 0.8, "high_specificity": 0.2}
            ),
        ),
        "high_sensitivity <= high_specificity",
    ),
    "recipe": (lambda f: edit(f, lambda c: c["preprocessing"].update(patch_size=0)), "patch_size"),
    "not ONNX": (lambda f: replace_network(f, b"no network at all"), "onnxruntime cannot load it"),
    "empty weights": (lambda f: replace_network(f, b""), "onnxruntime cannot load it"),
    "another output": (rename_output, "outputs are"),
    "another input": (rename_input, "inputs are ('picture',), expected ('image',)"),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_spoilt_folder_is_refused_in_one_line(spoil: str, folder: Path) -> None:
    change, words = SPOILT[spoil]
    change(folder)
    with pytest.raises(ModelError) as refused:
        Model(folder)
    assert refused.value.code is ReasonCode.INVALID_MODEL
    assert words in refused.value.text
    assert str(folder) in refused.value.text
    assert len(refused.value.text.splitlines()) == 1


def test_body_parts_that_are_not_those_of_the_network_are_refused(folder: Path) -> None:
    edit(folder, lambda content: content["body_parts"].pop())
    with pytest.raises(ModelError, match=r"body_part_logits are \(1, 4\), model.json expects \(1, 3\)"):
        Model(folder).predict(batch_of(draw(0.5)))


def test_the_fingerprint_changes_with_the_weights_and_with_the_spec(folder: Path) -> None:
    seen = {Model(folder).fingerprint, Model(folder).fingerprint}
    edit(folder, lambda content: content.update(version="0.1.1"))
    seen.add(Model(folder).fingerprint)
    model = network()
    model.doc_string = "another"
    replace_network(folder, model.SerializeToString())
    seen.add(Model(folder).fingerprint)
    assert len(seen) == 3


def test_the_spec_survives_its_file(tiny: Model, tiny_folder: Path) -> None:
    assert tiny.spec == spec((tiny_folder / "model.onnx").read_bytes())


def test_onnxruntime_keeps_no_record_of_its_use(tiny_folder: Path, tmp_path: Path) -> None:
    """It would fill a database in the home folder, to be sent to its maker."""
    load = "import sys, pathlib, monai_bone_ssl.model.inference as m; m.Model(pathlib.Path(sys.argv[1]))"
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-B", "-c", load, str(tiny_folder)],
        env=environment | {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("device", "built_with", "wanted"),
    [
        ("auto", ["CPUExecutionProvider"], ["CPUExecutionProvider"]),
        (
            "auto",
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
        ),
        ("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
    ],
)
def test_a_gpu_is_taken_where_there_is_one(
    device: Device,
    built_with: list[str],
    wanted: list[str],
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    session = onnxruntime.InferenceSession

    def make(weights: bytes, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:
        asked.extend(name for name, _ in providers)
        return session(weights, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built_with)
    monkeypatch.setattr(onnxruntime, "InferenceSession", make)
    Model(tiny_folder, device).predict(batch_of(draw(0.5)))
    assert asked == wanted


def test_device_that_is_not_there_is_refused(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="cuda"):
        Model(tiny_folder, "cuda")
