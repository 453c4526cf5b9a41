"""The whole table on a MURA-shaped tree, every number of it recomputed here from the definitions."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from pathlib import Path

import msgspec
import numpy as np
import pytest
from analyses import strict_json
from PIL import Image
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.stats.bootstrap import cluster_bootstrap
from monai_bone_ssl.training.comparison.methods import MetadataBaseline
from monai_bone_ssl.training.comparison.outcome import FIGURE_HEADINGS, ModelComparison
from monai_bone_ssl.training.data import LabelledDataset, load_dataset
from training.comparison.brightness import Brightness, predictions, run


def _by_hand(rows: list[tuple[int, float]]) -> dict[str, float]:
    """Figures of (label, probability) pairs by counting; the area under the curve pair by pair."""
    tp = sum(y == 1 and p >= 0.5 for y, p in rows)
    fn = sum(y == 1 and p < 0.5 for y, p in rows)
    tn = sum(y == 0 and p < 0.5 for y, p in rows)
    fp = sum(y == 0 and p >= 0.5 for y, p in rows)
    n = len(rows)
    chance = ((tp + fn) * (tp + fp) + (tn + fp) * (tn + fn)) / n**2
    wins = [1.0 if p > q else 0.5 if p == q else 0.0 for y, p in rows if y == 1 for z, q in rows if z == 0]
    bins: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for y, p in rows:
        bins[min(14, int(p * 15))].append((y, p))
    return {
        "accuracy": (tp + tn) / n,
        "auroc": sum(wins) / len(wins),
        "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
        "kappa": ((tp + tn) / n - chance) / (1 - chance),
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "sensitivity_at_specificity_85": _sensitivity_at(0.85, rows),
        "sensitivity_at_specificity_90": _sensitivity_at(0.90, rows),
        "ece": sum(abs(sum(p for _, p in b) - sum(y for y, _ in b)) for b in bins.values()) / n,
    }


def _sensitivity_at(specificity: float, rows: list[tuple[int, float]]) -> float:
    """The best sensitivity over all thresholds that keep the specificity."""
    positive, negative = ([p for y, p in rows if y == label] for label in (1, 0))
    kept = [t for t in (2.0, *positive) if sum(p < t for p in negative) >= specificity * len(negative) - 1e-9]
    return max(sum(p >= t for p in positive) for t in kept) / len(positive)


def _studies(stored: list[dict[str, str]]) -> list[tuple[str, int, float]]:
    """(part, label, mean probability) of each study."""
    members: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in stored:
        members[row["path"].rsplit("/", 1)[0]].append(row)
    return [
        (rows[0]["part"], int(rows[0]["label"]), sum(float(r["probability"]) for r in rows) / len(rows))
        for rows in members.values()
    ]


def test_every_number_of_the_table_by_hand(compared: tuple[ModelComparison, Path]) -> None:
    comparison, out = compared
    with (out / "table.csv").open(newline="") as file:
        table = {(line["level"], line["figure"], line["row"]): line for line in csv.DictReader(file)}
    assert len(table) == 2 * len(FIGURE_HEADINGS) * 3
    checked = 0
    for row in comparison.rows:
        stored = predictions(out, row.name)
        images = [(line["part"], int(line["label"]), float(line["probability"])) for line in stored]
        for level, entries in (("image", images), ("study", _studies(stored))):
            parts = sorted({part for part, _, _ in entries})
            assert len(parts) == 7
            by_column = {part: _by_hand([(y, p) for q, y, p in entries if q == part]) for part in parts}
            expected: dict[str, dict[str, float]] = dict(by_column)
            expected["All"] = _by_hand([(y, p) for _, y, p in entries])
            expected["Mean of parts"] = {
                figure: sum(by_column[part][figure] for part in parts) / 7 for figure in expected["All"]
            }
            for column, figures in expected.items():
                for figure, value in figures.items():
                    line = table[level, figure, row.name]
                    assert float(line[column]) == pytest.approx(value, abs=1e-12), (level, column, figure)
                    assert float(line[f"{column} low"]) <= value + 1e-12
                    assert value <= float(line[f"{column} high"]) + 1e-12
                    checked += 1
    assert checked == 3 * 2 * 9 * 9


def test_intervals_of_the_mean_over_parts_by_a_loop(compared: tuple[ModelComparison, Path]) -> None:
    """The first 200 resamples of patients, accuracy and AUROC of each part by scikit-learn, averaged."""
    comparison, out = compared
    stored = predictions(out, "brightness")
    parts = np.array([line["part"] for line in stored])
    labels = np.array([int(line["label"]) for line in stored])
    probabilities = np.array([float(line["probability"]) for line in stored])
    patients = np.array([re.findall(r"patient\d+", line["path"])[0] for line in stored])
    weights = cluster_bootstrap(lambda w: w, patients)
    means = []
    for weight in weights:
        values = []
        for part in np.unique(parts):
            drawn = np.repeat(np.flatnonzero(parts == part), weight[parts == part].astype(int))
            values.append(np.mean((probabilities[drawn] >= 0.5) == labels[drawn]))
        means.append(np.mean(values))
    mean = comparison.row("brightness").mean_over_parts
    assert mean is not None
    assert (mean.accuracy.ci_low, mean.accuracy.ci_high) == pytest.approx(
        tuple(np.percentile(means, (2.5, 97.5)))
    )


def test_json_is_strict_and_reads_back(compared: tuple[ModelComparison, Path]) -> None:
    comparison, out = compared
    text = (out / "comparison.json").read_bytes()
    content = strict_json(text)
    assert msgspec.json.decode(text, type=ModelComparison) == comparison
    metrics = content["rows"][1]["metrics"]
    for name in ("auroc", "accuracy", "balanced_accuracy", "kappa", "sensitivity", "specificity", "ece"):
        for block in (metrics, metrics["study_level"], *metrics["per_part"].values()):
            assert {"value", "ci_low", "ci_high"} <= block[name].keys()
    assert set(metrics["per_part"]) == {"elbow", "finger", "forearm", "hand", "humerus", "shoulder", "wrist"}
    assert content["protocol"]["kind"] == "held_out"
    assert content["data"]["parts"]["elbow"]["test_positive"] > 20
    assert [row["against_baseline"] is None for row in content["rows"]] == [True, False, False]


def test_differences_to_the_baseline(compared: tuple[ModelComparison, Path]) -> None:
    comparison, out = compared
    base, row = predictions(out, "metadata"), predictions(out, "brightness")
    y = np.array([int(line["label"]) for line in row])
    p, q = (np.array([float(line["probability"]) for line in lines]) for lines in (row, base))
    pair = comparison.row("brightness").against_baseline
    assert pair is not None
    right, base_right = (p >= 0.5) == y, (q >= 0.5) == y
    assert pair.all.accuracy.value == pytest.approx(right.mean() - base_right.mean())
    assert pair.all.auroc.value == pytest.approx(roc_auc_score(y, p) - roc_auc_score(y, q))
    assert pair.mcnemar.only_first_right == int((right & ~base_right).sum())
    assert comparison.row("brightness").metrics.kappa.value == pytest.approx(cohen_kappa_score(y, p >= 0.5))


def test_rows_need_names_of_their_own_and_a_baseline(mura: LabelledDataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 rows are called brightness"):
        run(mura, tmp_path, Brightness(), Brightness(), baseline="brightness")
    with pytest.raises(ConfigError, match="baseline resnet50: expected one of the rows, brightness"):
        run(mura, tmp_path, Brightness(), baseline="resnet50")
    assert list(tmp_path.iterdir()) == []


def test_metadata_row_knows_part_and_size_only(tmp_path: Path) -> None:
    """Positives are wide; every pixel is the same."""
    lines = ["path,label,part,patient"]
    for i in range(40):
        wide = i % 2 == 1
        Image.fromarray(np.full((10, 30 if wide else 12), 99, dtype=np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{int(wide)},knee,p{i}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    dataset = load_dataset(tmp_path / "list.csv")
    train, test = np.arange(20), np.arange(20, 40)
    probabilities = MetadataBaseline().predict(dataset, train, test, 0)
    assert roc_auc_score(dataset.labels[test], probabilities) == 1.0
    shown = [image for image in dataset.images if image.label == 0]
    same = np.array([dataset.images.index(image) for image in shown])
    assert np.ptp(MetadataBaseline().predict(dataset, train, same, 0)) < 1e-12
