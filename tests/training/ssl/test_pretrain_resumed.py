"""A pre-training run leaves what it promises; interrupted and resumed, it leaves the same bits."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_radiographs import read_list, write_limbs, write_list

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.networks.backbone import load_backbone
from monai_bone_ssl.training.ssl.pretrain import pretrain
from monai_bone_ssl.training.ssl.recipe import Recipe
from monai_bone_ssl.training.ssl.training_step import TrainingStep
from training.ssl.runs import NAME, SMALL, assert_same_result, last, measures, record

pytestmark = pytest.mark.usefixtures("narrow_networks")

FULL = Recipe(**SMALL, drop_path=0.3, ibot_weight=1.0, koleo_weight=0.1, early_stop=5)


@pytest.fixture(scope="module")
def straight(data, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("straight")
    pretrain([data], out, NAME, FULL, cache=cache)
    return out


def test_run_leaves_what_it_promises(straight, data):
    run = record(straight)
    assert run["finished"] == "all epochs done"
    assert run["arguments"]["architecture"] == NAME
    assert run["arguments"]["weights"] == "random"
    assert run["arguments"]["drop_path"] == 0.3
    assert run["sources"] == [{"name": f"{data.parent.name}/list.csv", "listed": 24, "used": 24}]
    assert run["images_an_epoch"] == 24
    assert torch.__version__.startswith(run["software"]["torch"])
    assert [epoch["epoch"] for epoch in run["history"]] == [1, 2]
    for epoch in run["history"]:
        assert epoch["loss"] == pytest.approx(epoch["dino"] + epoch["ibot"] + 0.1 * epoch["koleo"], rel=1e-5)
        assert 0 < epoch["teacher_entropy"] <= np.log(32)
        assert 0 <= epoch["body_part_knn"] <= 1
    lines = (straight / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == run["history"]
    assert str(data.parent) not in (straight / "run.json").read_text()


def test_backbones_are_the_teachers_and_can_be_loaded(straight):
    saved = torch.load(straight / "checkpoints" / "checkpoint_epoch=2.pt", weights_only=True)["module"]
    loaded = load_backbone(straight / f"{NAME}.last.safetensors").vit.state_dict()
    for name, value in loaded.items():
        assert torch.equal(value, saved[f"teacher.backbone.vit.{name}"].half().float())
    student = saved["student.backbone.vit.blocks.0.mlp.fc1.weight"]
    assert not torch.equal(student, saved["teacher.backbone.vit.blocks.0.mlp.fc1.weight"])


def test_best_epoch_is_the_one_with_the_best_score(straight):
    scores = [epoch["body_part_knn"] for epoch in record(straight)["history"]]
    best = record(straight)["best_epoch"]
    assert best == 1 + int(np.argmax(scores))
    assert ((straight / f"{NAME}.best.safetensors").read_bytes() == last(straight)) == (best == 2)


def test_tensorboard_has_the_curves(straight):
    events = EventAccumulator(str(straight / "tensorboard"))
    events.Reload()
    for name in ("loss", "teacher_entropy", "body_part_knn"):
        values = [event.value for event in events.Scalars(name)]
        assert values == pytest.approx([epoch[name] for epoch in record(straight)["history"]], rel=1e-5)


def test_run_stopped_after_an_epoch_resumes_to_the_same_bits(straight, data, cache, tmp_path):
    pretrain([data], tmp_path, NAME, FULL, cache=cache, minutes=0)
    assert record(tmp_path)["finished"] is None
    assert len(measures(tmp_path)) == 1
    pretrain([data], tmp_path, NAME, FULL, cache=cache)
    assert_same_result(tmp_path, straight)
    assert record(tmp_path)["finished"] == "all epochs done"


def test_run_killed_in_an_epoch_with_a_torn_checkpoint_resumes_to_the_same_bits(
    straight, data, cache, tmp_path, monkeypatch
):
    step = TrainingStep.__call__

    def killed(self, engine, batch):
        if (batch.epoch, batch.step) == (1, 1):
            raise KeyboardInterrupt
        return step(self, engine, batch)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingStep, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain([data], tmp_path, NAME, FULL, cache=cache)
    complete = tmp_path / "checkpoints" / "checkpoint_epoch=1.pt"
    torn = complete.read_bytes()[: complete.stat().st_size // 2]
    (tmp_path / "checkpoints" / "checkpoint_epoch=2.pt").write_bytes(torn)
    pretrain([data], tmp_path, NAME, FULL, cache=cache)
    assert_same_result(tmp_path, straight)


def test_finished_run_is_left_alone(straight, data, cache, capsys):
    before = {path: path.stat().st_mtime_ns for path in straight.rglob("*")}
    pretrain([data], straight, NAME, FULL, cache=cache)
    assert {path: path.stat().st_mtime_ns for path in straight.rglob("*")} == before
    assert "this run is finished (all epochs done)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 3}, "epochs 2, now it is 3"),
        ({"weight_decay": (0.04, 0.3)}, "weight decay [0.04, 0.4], now it is [0.04, 0.3]"),
        ({"seed": 1}, "seed 0, now it is 1"),
    ],
)
def test_changed_argument_is_refused_and_named(change, message, straight, data, cache):
    values = {field: getattr(FULL, field) for field in FULL.__struct_fields__}
    with pytest.raises(ConfigError) as raised:
        pretrain([data], straight, NAME, Recipe(**(values | change)), cache=cache)
    assert message in raised.value.text


def test_changed_images_are_refused(straight, cache, tmp_path):
    other = write_limbs(tmp_path / "other", 24, seed=1)
    with pytest.raises(ConfigError, match="the run there began with images"):
        pretrain([other], straight, NAME, FULL, cache=cache)


def test_labels_do_not_matter(straight, data, cache, tmp_path):
    shutil.copytree(data.parent, tmp_path / "flipped")
    flipped = tmp_path / "flipped" / "list.csv"
    write_list(
        flipped, [tuple((row | {"label": 1 - int(row["label"])}).values()) for row in read_list(flipped)]
    )
    pretrain([flipped], tmp_path / "out", NAME, FULL, cache=cache)
    assert_same_result(tmp_path / "out", straight)
