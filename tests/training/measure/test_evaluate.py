"""From predictions to files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from monai_bone_ssl.errors import ConfigError, ModelError, ReasonCode, ReportError
from monai_bone_ssl.findings import OperatingPoints, Peak, PixelBox, decide
from monai_bone_ssl.model.answer import Answer
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.training.data import LabelledDataset, load_dataset
from monai_bone_ssl.training.measure.evaluate import evaluate
from monai_bone_ssl.training.measure.evaluate_model import operating_points, write_evaluation

POINTS = OperatingPoints(high_sensitivity=0.3, high_specificity=0.7)
CORNER = Peak(0, 0)
FILES = {
    "metrics.json",
    "predictions.csv",
    "roc.png",
    "reliability.png",
    "probabilities.png",
    "parts.png",
}
FIGURES = (
    "auroc",
    "auroc_within_cells",
    "accuracy",
    "balanced_accuracy",
    "kappa",
    "sensitivity",
    "specificity",
    "sensitivity_at_specificity_85",
    "sensitivity_at_specificity_90",
    "ece",
    "indeterminate",
)


@pytest.fixture
def fracatlas(tmp_path: Path) -> LabelledDataset:
    """Eight images of 10 x 20 pixels; the first two fractured ones outlined."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    rows = ["image_id,part,hardware,fractured,block,neardup_group"]
    for i in range(8):
        Image.fromarray(np.full((10, 20), i, dtype=np.uint8)).save(root / "images" / f"{i}.png")
        rows.append(f"{i}.png,{'hand' if i < 5 else 'leg'},{int(i == 0)},{i % 2},{i},{i}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    boxes = {
        "1.png": [{"bbox_xywh": [0, 0, 5, 4]}, {"bbox_xywh": [3, 0, 5, 4]}],  # overlap: 8 x 4 of 200 pixels
        "3.png": [{"bbox_xywh": [10, 5, 10, 5]}],  # a quarter
    }
    (root / "fracture_boxes.json").write_text(json.dumps(boxes))
    return load_dataset(root)


def _answer(probability: float, peak: Peak = CORNER) -> Answer:
    box = PixelBox(peak.row, peak.column, peak.row + 1, peak.column + 1)
    evidence = np.zeros((1, 1), dtype=np.float32)
    return Answer(float("nan"), probability, decide(probability, POINTS), POINTS, evidence, box, ())


def _answers(dataset: LabelledDataset) -> list[Answer]:
    return [_answer(float(p)) for p in np.linspace(0.05, 0.95, len(dataset))]


def _read_strict(path: Path) -> dict[str, object]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert isinstance(content, dict)
    return content


@pytest.mark.usefixtures("no_pictures")
def test_metrics_json_holds_the_contract_keys(fracatlas: LabelledDataset, tmp_path: Path) -> None:
    evaluate(fracatlas, _answers(fracatlas), tmp_path / "out" / "deep")
    content = _read_strict(tmp_path / "out" / "deep" / "metrics.json")
    assert (content["n"], content["n_positive"]) == (8, 4)
    blocks = [content, content["without_hardware"], *content["per_part"].values()]
    for block in blocks:
        assert {"n", "n_positive"} <= block.keys()
        for name in FIGURES:
            assert {"value", "ci_low", "ci_high"} <= block[name].keys()
    assert content["per_part"].keys() == {"hand", "leg"}
    assert content["without_hardware"]["n"] == 7
    assert content["study_level"] is None
    assert content["data"]["licence"] == "CC BY 4.0"
    assert content["target"] == "fracture"


def test_every_file_is_written_and_nothing_else(fracatlas: LabelledDataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(fracatlas, _answers(fracatlas), out)
    assert {path.name for path in out.iterdir()} == FILES
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 300
            assert len(np.unique(np.asarray(image.convert("L")))) > 10  # not blank


@pytest.mark.usefixtures("no_pictures")
def test_predictions_csv_is_aligned_with_the_images(fracatlas: LabelledDataset, tmp_path: Path) -> None:
    answers = _answers(fracatlas)
    evaluate(fracatlas, answers, tmp_path)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "part", "probability", "decision"]
    assert [row["path"] for row in rows] == [f"images/{i}.png" for i in range(8)]
    assert [float(row["probability"]) for row in rows] == [answer.probability for answer in answers]
    assert [int(row["label"]) for row in rows] == [0, 1] * 4
    assert [row["decision"] for row in rows] == ["negative"] * 2 + ["indeterminate"] * 4 + ["positive"] * 2


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Peak(3, 7), Peak(5, 10), 1.0),  # last pixel of the second box; first pixel of the third
        (Peak(4, 7), Peak(9, 19), 0.5),  # one row below; last pixel of the image
        (Peak(3, 8), Peak(4, 10), 0.0),
    ],
)
def test_pointing_game_counts_peaks_inside_any_box(
    fracatlas: LabelledDataset, tmp_path: Path, first: Peak, second: Peak, expected: float
) -> None:
    answers = _answers(fracatlas)
    answers[1], answers[3] = _answer(0.5, first), _answer(0.5, second)
    localisation = evaluate(fracatlas, answers, tmp_path).localisation
    assert localisation is not None
    assert (localisation.pointing_game, localisation.n) == (expected, 2)
    assert localisation.chance == pytest.approx((32 / 200 + 50 / 200) / 2)


@pytest.mark.usefixtures("no_pictures")
def test_thresholds_may_differ_by_part(fracatlas: LabelledDataset, tmp_path: Path) -> None:
    metrics = evaluate(fracatlas, _answers(fracatlas), tmp_path, threshold={"hand": 0.0, "leg": 1.0})
    assert metrics.per_part["hand"].sensitivity.value == 1.0
    assert metrics.per_part["leg"].sensitivity.value == 0.0
    with pytest.raises(ConfigError, match="no threshold for part leg"):
        evaluate(fracatlas, _answers(fracatlas), tmp_path, threshold={"hand": 0.5})


def test_predictions_must_match_the_images(fracatlas: LabelledDataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="7 answers for 8 images"):
        evaluate(fracatlas, _answers(fracatlas)[1:], tmp_path)
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.usefixtures("no_pictures")
def test_studies_of_a_csv_reach_the_study_level(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "x.png")
    lines = [f"{'./' * i}x.png,{i // 6},wrist,p{i // 3},{i // 2}" for i in range(12)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,part,patient,study", *lines]) + "\n")
    dataset = load_dataset(tmp_path / "list.csv")
    metrics = evaluate(dataset, _answers(dataset), tmp_path / "out")
    assert metrics.study_level is not None
    assert metrics.study_level.n == len({image.study for image in dataset.images}) == 8
    assert metrics.without_hardware is None
    assert _read_strict(tmp_path / "out" / "metrics.json")["study_level"]["auroc"]["value"] == 1.0


def test_one_class_only_still_gives_every_file(fracatlas: LabelledDataset, tmp_path: Path) -> None:
    normal = fracatlas.take(np.flatnonzero(fracatlas.labels == 0))
    evaluate(normal, _answers(normal), tmp_path)
    content = _read_strict(tmp_path / "metrics.json")
    assert content["auroc"]["value"] is None
    assert content["auroc"]["reason"] == "needs positive and negative cases"
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == FILES


@pytest.mark.usefixtures("no_pictures")
def test_same_predictions_give_the_same_file(fracatlas: LabelledDataset, tmp_path: Path) -> None:
    for out in ("a", "b"):
        evaluate(fracatlas, _answers(fracatlas), tmp_path / out)
    assert (tmp_path / "a" / "metrics.json").read_bytes() == (tmp_path / "b" / "metrics.json").read_bytes()


def test_folder_that_cannot_be_written_is_named(fracatlas: LabelledDataset, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ReportError, match=r"predictions\.csv: cannot be written") as caught:
        evaluate(fracatlas, _answers(fracatlas), tmp_path / "out")
    assert caught.value.code is ReasonCode.WRITE_FAILED


@pytest.mark.usefixtures("no_pictures")
def test_the_main_figures_are_said_in_words(fracatlas: LabelledDataset, tiny: Model, tmp_path: Path) -> None:
    said = write_evaluation(fracatlas, _answers(fracatlas), tiny.spec, tmp_path).splitlines()
    assert said[0] == "8 images, 4 positive"
    assert said[1].startswith("AUROC 0.625 (95 % interval 0.")
    assert "Share answered indeterminate 0.500 (95 % interval 0." in said[3]
    assert said[4].startswith("Share of positive images whose evidence peaks in an outline 0.500 (95 %")
    assert not any("within cells" in line for line in said)  # eight images have no cell
    alone = replace(fracatlas, images=tuple(replace(image, group="one") for image in fracatlas.images))
    said = write_evaluation(alone, _answers(alone), tiny.spec, tmp_path).splitlines()
    assert said[1] == "AUROC 0.625 (too few groups for an interval)"


def test_a_model_without_operating_points_is_refused(tiny: Model) -> None:
    bare = [msgspec.structs.replace(part, operating_points=None) for part in tiny.spec.body_parts]
    with pytest.raises(ModelError, match="no body part has operating points") as caught:
        operating_points("hand", msgspec.structs.replace(tiny.spec, body_parts=bare))
    assert tiny.spec.name in caught.value.text
