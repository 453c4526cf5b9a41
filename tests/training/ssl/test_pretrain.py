"""What a pre-training run learns, from what, and how it stops where it goes wrong."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from toy_radiographs import limb, read_list, write_list

from monai_bone_ssl.errors import ConfigError, ReasonCode, TrainingError
from monai_bone_ssl.training.networks.backbone import create_backbone, load_backbone, save_backbone
from monai_bone_ssl.training.ssl.pretrain import pretrain
from monai_bone_ssl.training.ssl.recipe import Recipe
from monai_bone_ssl.training.ssl.training_step import TrainingStep
from training.ssl.runs import BLOCKS, NAME, SMALL, measures, record

pytestmark = pytest.mark.usefixtures("narrow_networks")


@pytest.mark.parametrize("method", ["dino", "mae"])
def test_loss_falls(method, data, cache, tmp_path):
    """A teacher that moves is no fixed aim, so DINO's stands still here."""
    still = {"teacher_temperature": (0.04, 0.04), "teacher_momentum": (1.0, 1.0)}
    values = SMALL | {"epochs": 10, "learning_rate": 0.1, "drop_path": 0.0, "method": method}
    pretrain([data], tmp_path, NAME, Recipe(**values, **still), cache=cache)
    # Less the entropy of the teacher's answers, which no student can undercut.
    losses = [epoch["loss"] - epoch.get("teacher_entropy", 0) for epoch in measures(tmp_path)]
    assert losses[-1] < 0.9 * losses[0]


def test_only_trained_blocks_move(data, cache, tmp_path):
    weights = tmp_path / f"{NAME}.given.safetensors"
    save_backbone(create_backbone(NAME), weights)
    pretrain([data], tmp_path, weights, Recipe(**(SMALL | {"epochs": 1}), trainable_blocks=1), cache=cache)
    before = load_backbone(weights).vit.state_dict()
    after = load_backbone(tmp_path / f"{NAME}.last.safetensors").vit.state_dict()
    moved = {
        name.split(".")[1]
        for name in before
        if not torch.equal(before[name], after[name]) and "blocks" in name
    }
    assert moved == {str(BLOCKS - 1)}
    assert torch.equal(before["patch_embed.proj.weight"], after["patch_embed.proj.weight"])
    assert len(record(tmp_path)["arguments"]["weights"]) == 64, "the digest of the given file"


def test_test_images_are_not_even_opened(data, cache, tmp_path):
    shutil.copytree(data.parent, tmp_path / "data")
    rows = [tuple((row | {"split": "train"}).values()) for row in read_list(tmp_path / "data" / "list.csv")]
    (tmp_path / "data" / "secret.png").write_bytes(b"whoever opens this fails")
    write_list(tmp_path / "data" / "list.csv", [*rows, ("secret.png", 1, "elbow", "other", "s", "valid")])
    recipe = Recipe(**(SMALL | {"epochs": 1}))
    pretrain([tmp_path / "data" / "list.csv"], tmp_path / "out", NAME, recipe, cache=cache)
    assert record(tmp_path / "out")["sources"] == [{"name": "data/list.csv", "listed": 24, "used": 24}]


def test_plain_folder_and_list_together_without_broken_images(data, cache, tmp_path, capsys):
    random = np.random.default_rng(3)
    (tmp_path / "archive" / "deep").mkdir(parents=True)
    for number in range(8):
        limb(random, "wrist").save(tmp_path / "archive" / "deep" / f"{number}.png")
    Image.new("L", (50, 50)).save(tmp_path / "archive" / "black.png")
    recipe = Recipe(**(SMALL | {"epochs": 1}))
    pretrain([data, tmp_path / "archive"], tmp_path / "out", NAME, recipe, cache=cache)
    assert record(tmp_path / "out")["sources"] == [
        {"name": f"{data.parent.name}/list.csv", "listed": 24, "used": 24},
        {"name": "archive", "listed": 9, "used": 8},
    ]
    assert "1 of 33 images left out: black.png: the image is blank" in capsys.readouterr().err


def test_without_body_parts_there_is_no_best_epoch(data, cache, tmp_path):
    shutil.copytree(data.parent, tmp_path / "plain")
    (tmp_path / "plain" / "list.csv").unlink()
    pretrain([tmp_path / "plain"], tmp_path / "out", NAME, Recipe(**SMALL), cache=cache)
    assert record(tmp_path / "out")["best_epoch"] is None
    assert "body_part_knn" not in measures(tmp_path / "out")[0]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors")) == [
        f"{NAME}.last.safetensors"
    ]


def test_early_stop_ends_the_run_and_stays_ended(data, cache, tmp_path, capsys):
    recipe = Recipe(**(SMALL | {"epochs": 30}), early_stop=1)
    pretrain([data], tmp_path, NAME, recipe, cache=cache)
    scores = [epoch["body_part_knn"] for epoch in measures(tmp_path)]
    assert len(scores) < 30
    assert scores[-1] <= max(scores[:-1])
    assert record(tmp_path)["finished"] == "stopped early"
    pretrain([data], tmp_path, NAME, recipe, cache=cache)
    assert "this run is finished (stopped early)" in capsys.readouterr().err


def test_global_random_streams_are_left_as_they_were(data, cache, tmp_path):
    def states():
        numpys = np.random.get_state()[1]  # noqa: NPY002 - the stream that must not be used
        return torch.get_rng_state().tolist(), numpys.tolist()

    before = states()
    pretrain([data], tmp_path, NAME, Recipe(**(SMALL | {"epochs": 1})), cache=cache)
    assert states() == before


def test_collapse_stops_the_run_with_a_message(data, cache, tmp_path):
    recipe = Recipe(**(SMALL | {"epochs": 6}), teacher_temperature=(1e4, 1e4))  # all prototypes alike
    with pytest.raises(TrainingError, match="training collapsed: the teacher says the same") as raised:
        pretrain([data], tmp_path, NAME, recipe, cache=cache)
    assert raised.value.code is ReasonCode.TRAINING_COLLAPSED
    assert len(measures(tmp_path)) == 1, "the second epoch in a row is not kept"


def test_divergence_stops_the_run_and_the_checkpoint_before_it_stays(data, cache, tmp_path, monkeypatch):
    step = TrainingStep.__call__

    def poisoned(self, engine, batch):
        if batch.epoch == 1:
            self.trained[0].data.fill_(float("nan"))
        return step(self, engine, batch)

    monkeypatch.setattr(TrainingStep, "__call__", poisoned)
    with pytest.raises(
        TrainingError, match="the loss became nan in epoch 2, expected a finite number"
    ) as raised:
        pretrain([data], tmp_path, NAME, Recipe(**SMALL), cache=cache)
    assert raised.value.code is ReasonCode.TRAINING_DIVERGED
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint_epoch=1.pt"]
    weights = load_backbone(tmp_path / f"{NAME}.last.safetensors").vit.state_dict().values()
    assert all(value.isfinite().all() for value in weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0, expected 1 or more"),
        ({"learning_rate": 0.0}, "learning rate is 0.0, expected more than 0"),
        ({"drop_path": 1.0}, "drop path is 1.0"),
        ({"method": "mae", "ibot_weight": 1.0}, "method is mae, expected dino"),
        ({"batch_size": 25}, "24 images: expected at least one batch of 25"),
        ({"size": 30}, "multiple of the patch size"),
        ({"long_side": 60}, "long side 60: expected a multiple of 16"),
        ({"trainable_blocks": BLOCKS + 1}, f"expected 1 to {BLOCKS}"),
    ],
)
def test_values_that_make_no_sense_are_refused(change, message, data, cache, tmp_path):
    with pytest.raises(ConfigError) as raised:
        pretrain([data], tmp_path, NAME, Recipe(**(SMALL | change)), cache=cache)
    assert message in raised.value.text
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_source_given_twice(data, cache, tmp_path):
    with pytest.raises(ConfigError, match=r"list\.csv: given twice"):
        pretrain([data, data], tmp_path, NAME, Recipe(**SMALL), cache=cache)
