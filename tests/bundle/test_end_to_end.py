"""All workflows of the bundle, one after the other, on images made for it; alone and as two processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_radiographs import write_fractures, write_list

from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.training.measure.evaluate_model import evaluate_model

from .bundle_commands import BUNDLE, output_of, refusal, run, start, torchrun

NAME = "test_vit"
SMALL = ("--architecture", NAME, "--epochs", "2", "--long_side", "64", "--size", "32",
         "--recipe#local_size", "16", "--recipe#local_views", "2", "--recipe#prototypes", "32",
         "--recipe#drop_path", "0.0")  # fmt: skip
PER_CLASS = 52


def config(*names: str) -> tuple[str, str]:
    paths = [str(BUNDLE / "configs" / f"{name}.json") for name in names]
    return ("--config_file", paths[0] if len(paths) == 1 else json.dumps(paths))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_fractures(tmp_path_factory.mktemp("data"), PER_CLASS, validate_every=26).parent


@pytest.fixture(scope="module")
def pretrained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("pretrained")
    batch = ("--batch_size", "16", "--cache_dir", out / "cache")
    run(*config("pretrain"), *SMALL, *batch, "--dataset_dir", data, "--output_dir", out)
    return out


@pytest.fixture(scope="module")
def fitted(data, pretrained, tmp_path_factory):
    out = tmp_path_factory.mktemp("fitted")
    weights = pretrained / f"{NAME}.last.safetensors"
    where = ("--dataset_dir", data, "--output_dir", out, "--cache_dir", out / "cache")
    run(*config("train"), *where, "--backbone", weights, "--long_side", "64", "--version", "'0.1'")
    return out


def test_pretraining_runs_its_epochs(pretrained):
    assert len(json.loads((pretrained / "run.json").read_text())["history"]) == 2
    assert (pretrained / f"{NAME}.best.safetensors").is_file()


def test_training_leaves_a_model_folder(fitted):
    spec = Model(fitted).spec
    assert spec.version == "0.1"
    assert [part.name for part in spec.body_parts] == ["elbow", "wrist"]


@pytest.mark.parametrize(
    ("start", "configs"), [(start, ("evaluate",)), (torchrun, ("evaluate", "multi_gpu_evaluate"))]
)
def test_evaluation_gives_the_figures_of_the_command_line(fitted, data, tmp_path, start, configs):
    """The oracle is the other front, with onnxruntime."""
    evaluate_model(data, Model(fitted), tmp_path / "expected")
    where = ("--model_dir", fitted, "--dataset_dir", data, "--output_dir", tmp_path / "found")
    output_of(start("run", *config(*configs), *where))
    expected, found = (
        (tmp_path / name / "predictions.csv").read_text().splitlines() for name in ("expected", "found")
    )
    assert len(found) == len(expected) == 1 + 8
    for one, other in zip(found[1:], expected[1:], strict=True):
        (*labels, probability, decision), (*same, close, equal) = one.split(","), other.split(",")
        assert (labels, decision) == (same, equal)
        assert abs(float(probability) - float(close)) < 1e-3
    figures = json.loads((tmp_path / "found" / "metrics.json").read_text())
    assert figures["n"] == 8


def test_inference_answers_for_every_file(fitted, data, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("elbow_0_0.png", "wrist_1_0.png"):
        (tmp_path / "in" / "deep" / name).write_bytes((data / name).read_bytes())
    (tmp_path / "in" / "notes.txt").write_text("no image")
    out = tmp_path / "out"
    run(*config("inference"), "--model_dir", fitted, "--dataset_dir", tmp_path / "in", "--output_dir", out)
    images = {Path(i["path"]).name: i for i in json.loads((out / "predictions.json").read_text())["images"]}
    assert set(images) == {"elbow_0_0.png", "wrist_1_0.png", "notes.txt"}
    assert images["notes.txt"]["reason"]["code"] == "not_dicom"
    analysed = [name for name, image in images.items() if image["status"] == "analysed"]
    maps = {path.name for path in (out / "deep").iterdir()} if analysed else set()
    assert maps == {f"{name}_{kind}" for name in analysed for kind in ("evidence.tiff", "overlay.png")}


def test_two_processes_pretrain_together(data, tmp_path):
    where = ("--dataset_dir", data, "--output_dir", tmp_path / "run", "--cache_dir", tmp_path / "cache")
    configs = config("pretrain", "multi_gpu_pretrain")
    run(*configs, *SMALL, "--epochs", "1", *where, processes=2)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["processes"] == 2
    assert record["arguments"]["batch_size"] == 128


@pytest.mark.slow
@pytest.mark.parametrize("workflow", ["pretrain", "train", "evaluate", "inference"])
def test_an_empty_folder_is_named(workflow, fitted, pretrained, tmp_path):
    (tmp_path / "empty").mkdir()
    where = ["--dataset_dir", tmp_path / "empty", "--output_dir", tmp_path / "out"]
    if workflow in ("evaluate", "inference"):
        where += ["--model_dir", fitted]
    if workflow == "train":
        where += ["--backbone", pretrained / f"{NAME}.last.safetensors"]
    if workflow == "pretrain":
        where += ["--architecture", NAME, "--cache_dir", tmp_path / "cache"]
    line = refusal(*config(workflow), *where)
    assert "empty" in line
    assert "expected" in line


@pytest.mark.slow
@pytest.mark.parametrize("workflow", ["pretrain", "train", "evaluate", "inference"])
def test_missing_weights_are_named(workflow, data, tmp_path):
    where = ["--dataset_dir", data, "--output_dir", tmp_path / "out"]
    missing = tmp_path / f"{NAME}.safetensors"
    if workflow in ("pretrain", "train"):
        where += ["--backbone", missing, "--cache_dir", tmp_path / "cache"]
    else:
        missing = tmp_path / "nowhere"
        where += ["--model_dir", missing]
    line = refusal(*config(workflow), *where)
    assert missing.name in line
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache").exists(), "no image was decoded before"


@pytest.mark.slow
@pytest.mark.parametrize("workflow", ["train", "evaluate"])
def test_a_missing_label_file_is_named(workflow, data, fitted, pretrained, tmp_path):
    unlabelled = tmp_path / "unlabelled"
    unlabelled.mkdir()
    (unlabelled / "one.png").write_bytes((data / "elbow_0_0.png").read_bytes())
    for place, words in (
        (unlabelled, ("unlabelled", "expected")),
        (unlabelled / "list.csv", ("list.csv", "no such")),
    ):
        where = ["--dataset_dir", place, "--output_dir", tmp_path / "out"]
        where += ["--model_dir", fitted] if workflow == "evaluate" else []
        where += ["--backbone", pretrained / f"{NAME}.last.safetensors"] if workflow == "train" else []
        line = refusal(*config(workflow), *where)
        assert all(word in line for word in words), line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_pretraining_leaves_out_a_wrong_image_and_says_so(data, tmp_path):
    """As on the command line: of a million images one may be broken. Without any other it is refused."""
    mixed, wrong = tmp_path / "mixed", tmp_path / "wrong"
    mixed.mkdir()
    wrong.mkdir()
    for number in range(8):
        name = f"elbow_0_{number}.png"
        (mixed / name).write_bytes((data / name).read_bytes())
    for folder in (mixed, wrong):
        (folder / "bad.png").write_text("no picture")
    where = ("--output_dir", tmp_path / "out", "--cache_dir", tmp_path / "cache")
    line = refusal(*config("pretrain"), *SMALL, *where, "--dataset_dir", wrong)
    assert "bad.png: expected a readable PNG, JPEG or DICOM image" in line
    assert not (tmp_path / "out").exists()
    batch = ("--batch_size", "8", "--epochs", "1")
    said = run(*config("pretrain"), *SMALL, *where, *batch, "--dataset_dir", mixed)
    assert "1 of 9 images left out: bad.png: expected a readable PNG" in said


@pytest.mark.slow
@pytest.mark.parametrize("workflow", ["train", "evaluate", "inference"])
def test_a_wrong_image_is_named_before_the_work(workflow, data, fitted, pretrained, tmp_path):
    wrong = tmp_path / "data"
    wrong.mkdir()
    (wrong / "good.png").write_bytes((data / "elbow_0_0.png").read_bytes())
    (wrong / "bad.png").write_text("no picture")
    rows = [("good.png", 0, "elbow", "a"), ("bad.png", 1, "elbow", "b")]
    write_list(wrong / "list.csv", rows, ("path", "label", "part", "patient"))
    where = ["--dataset_dir", wrong, "--output_dir", tmp_path / "out"]
    where += ["--model_dir", fitted] if workflow != "train" else []
    where += ["--backbone", pretrained / f"{NAME}.last.safetensors"] if workflow == "train" else []
    line = refusal(*config(workflow), *where)
    assert f"{wrong / 'bad.png'}: expected a readable PNG, JPEG or DICOM image" in line
    assert not (tmp_path / "out").exists()
