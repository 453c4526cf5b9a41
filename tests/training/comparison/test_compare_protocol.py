"""Which images a comparison learns from and predicts: a held-out split, or folds under three seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.comparison.protocol import make_protocol
from monai_bone_ssl.training.data import LabelledDataset, load_dataset
from training.comparison.brightness import Brightness, Ints, csv_data, read_csv, run


def test_held_out_split_is_read_once(mura: LabelledDataset, tmp_path: Path) -> None:
    method = Brightness()
    comparison = run(mura, tmp_path, method, baseline="brightness")
    assert method.calls == [0]
    assert comparison.rows[0].metrics.n == sum(image.split == "valid" for image in mura.images)


def test_without_a_split_figures_are_means_over_three_seeds(tmp_path: Path) -> None:
    dataset = csv_data(tmp_path)
    method, single = Brightness(), Brightness("single", first_seed_only=True)
    comparison = run(dataset, tmp_path / "out", method, single, baseline="single")
    assert method.calls == [0] * 5 + [1] * 5 + [2] * 5
    assert single.calls == [0] * 5
    accuracies, aurocs = [], []
    for seed in range(3):
        paths = (tmp_path / "out" / "predictions" / "brightness").glob(f"seed{seed}-*.csv")
        lines = [line for path in paths for line in read_csv(path)]
        assert sorted(line["path"] for line in lines) == sorted(image.name for image in dataset.images)
        y = np.array([int(line["label"]) for line in lines])
        p = np.array([float(line["probability"]) for line in lines])
        accuracies.append(np.mean((p >= 0.5) == y))
        aurocs.append(roc_auc_score(y, p))
    row = comparison.row("brightness")
    assert row.metrics.accuracy.value == pytest.approx(np.mean(accuracies))
    assert row.metrics.auroc.value == pytest.approx(np.mean(aurocs))
    assert (row.seeds, comparison.row("single").seeds) == ((0, 1, 2), (0,))
    # The single run is compared with the same seed of the other, and they are the same method.
    pair = row.against_baseline
    assert pair is not None
    assert (pair.n_runs, pair.all.accuracy.value, pair.all.auroc.value) == (1, 0.0, 0.0)
    assert row.metrics.study_level is None


def test_label_efficiency_ends_at_the_table(tmp_path: Path) -> None:
    dataset = csv_data(tmp_path)
    method = Brightness()
    comparison = run(dataset, tmp_path / "out", method, baseline="brightness", efficiency_of=["brightness"])
    points = comparison.label_efficiency
    assert {(p.share, p.seed, p.fold) for p in points} == {
        (share, seed, fold) for share in (0.01, 0.1, 0.25, 1.0) for seed in range(3) for fold in range(5)
    }
    for fold in make_protocol(dataset).folds_of(0):
        (path,) = (
            path
            for path in (tmp_path / "out" / "predictions" / "brightness").glob(
                f"seed0-fold{fold.number}-*.csv"
            )
            if _by_brightness(dataset, fold.train, fold.test)
            == [float(r["probability"]) for r in read_csv(path)]
        )
        y, p = zip(*((int(r["label"]), float(r["probability"])) for r in read_csv(path)), strict=True)
        whole = [point for point in points if (point.share, point.fold) == (1.0, fold.number)]
        assert len(whole) == 3
        for point in whole:
            assert point.n_images == len(fold.train)
            assert point.accuracy == pytest.approx(np.mean((np.array(p) >= 0.5) == np.array(y)))
            assert point.auroc == pytest.approx(roc_auc_score(y, p))
    # The full share is what the table was made of: only the smaller shares were computed beside it.
    shares = {p.n_images for p in points if p.share < 1}
    assert max(shares) < 48
    assert 15 < len(method.calls) <= 15 + 5 * 9
    again = Brightness()
    run(dataset, tmp_path / "out", again, baseline="brightness", efficiency_of=["brightness"])
    assert again.calls == []


def _by_brightness(dataset: LabelledDataset, train: Ints, test: Ints) -> list[float]:
    return [float(p) for p in Brightness().predict(dataset, train, test, 0)]


def test_a_split_without_training_images_is_refused(tmp_path: Path) -> None:
    csv_data(tmp_path, 4)
    lines = (tmp_path / "list.csv").read_text().splitlines()
    (tmp_path / "list.csv").write_text(
        "\n".join([f"{lines[0]},split", *(f"{x},valid" for x in lines[1:])]) + "\n"
    )
    with pytest.raises(ConfigError, match="no image of the split train"):
        make_protocol(load_dataset(tmp_path / "list.csv"))
