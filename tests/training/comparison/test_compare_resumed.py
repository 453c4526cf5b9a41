"""A comparison that was stopped, run again, or changed computes what is missing and no more."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.data import LabelledDataset, load_dataset
from training.comparison.brightness import Brightness, Floats, Ints, csv_data, run


@dataclass
class Interrupted(Brightness):
    """Stops in its second prediction, as a user would."""

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, seed: int) -> Floats:
        if len(self.calls) == 1:
            raise KeyboardInterrupt
        return super().predict(dataset, train, test, seed)


def test_second_run_computes_nothing_and_says_the_same(mura: LabelledDataset, tmp_path: Path) -> None:
    run(mura, tmp_path, Brightness(), baseline="brightness")
    files = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    again = Brightness()
    run(mura, tmp_path, again, baseline="brightness")
    assert again.calls == []
    assert {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files


def test_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    dataset = csv_data(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(dataset, tmp_path / "out", Interrupted(), baseline="brightness")
    assert not (tmp_path / "out" / "comparison.json").exists()
    method = Brightness()
    resumed = run(dataset, tmp_path / "out", method, baseline="brightness")
    assert len(method.calls) == 14
    whole = run(dataset, tmp_path / "other", Brightness(), baseline="brightness")
    assert resumed == whole


def test_changed_method_or_data_is_computed_again(tmp_path: Path) -> None:
    dataset = csv_data(tmp_path)
    run(dataset, tmp_path / "out", Brightness(), baseline="brightness")
    other = Brightness(steepness=3.0)
    run(dataset, tmp_path / "out", other, baseline="brightness")
    assert len(other.calls) == 15
    shutil.copy(tmp_path / "0.png", tmp_path / "2.png")  # the same list, another image
    changed = Brightness(steepness=3.0)
    run(load_dataset(tmp_path / "list.csv"), tmp_path / "out", changed, baseline="brightness")
    assert len(changed.calls) == 15


def test_altered_predictions_are_named(tmp_path: Path) -> None:
    dataset = csv_data(tmp_path)
    run(dataset, tmp_path / "out", Brightness(), baseline="brightness")
    path = next((tmp_path / "out" / "predictions" / "brightness").glob("seed1-fold2-*.csv"))
    path.write_text(path.read_text().replace("probability", "chance"))
    with pytest.raises(ConfigError, match=f"brightness/{path.name}: altered"):
        run(dataset, tmp_path / "out", Brightness(), baseline="brightness")
