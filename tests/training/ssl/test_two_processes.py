"""Two processes with gloo learn what one process learns from the same global batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from processes import run_module
from toy_radiographs import write_limbs

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.networks.backbone import create_backbone
from monai_bone_ssl.training.ssl.losses import Centre
from monai_bone_ssl.training.ssl.pretrain import make_pretrainer, pretrain
from training.ssl.runs import ALONE, NAME, record
from training.ssl.two_processes import OUTPUTS, RECIPE, SHARES

pytestmark = pytest.mark.usefixtures("narrow_networks")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run by one process, and by two that stop after an epoch and go on."""
    folder = tmp_path_factory.mktemp("two_processes")
    data = write_limbs(folder / "limbs", 24)
    environment = {"CUDA_VISIBLE_DEVICES": ""}
    two = run_module(
        "training.ssl.two_processes", [folder], folder=folder, environment=environment, processes=2
    )
    assert two.returncode == 0, two.stderr[-3000:]
    pretrain([data], folder / "alone", NAME, RECIPE, cache=folder / "cache")
    return folder


def test_two_processes_have_the_loss_curve_of_one_with_the_double_batch(runs):
    """To rounding: gradients are summed in another order, and AdamW divides by their size."""
    alone, two = record(runs / "alone")["history"], record(runs / "two")["history"]
    assert len(alone) == len(two) == 3
    for name in ("loss", "dino", "ibot", "teacher_entropy", "teacher_information", "feature_variance"):
        expected = [epoch[name] for epoch in alone]
        assert [epoch[name] for epoch in two] == pytest.approx(expected, rel=1e-4, abs=1e-5), name
    assert alone[0]["loss"] != pytest.approx(alone[2]["loss"], rel=0.01), "something was learnt"


def student(out):
    checkpoint = torch.load(out / "checkpoints" / "checkpoint_epoch=3.pt", weights_only=True)
    start = "student.backbone.vit."
    return {
        name.removeprefix(start): value
        for name, value in checkpoint["module"].items()
        if name.startswith(start)
    }


def test_they_end_with_the_same_weights(runs):
    """What sets them apart is small beside the way they came."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = create_backbone(NAME).vit.state_dict()
    alone, two = student(runs / "alone"), student(runs / "two")
    way = sum(float((alone[name] - first[name]).square().sum()) for name in alone)
    apart = sum(float((alone[name] - two[name]).square().sum()) for name in alone)
    assert way > 0.01
    assert apart < 1e-4 * way


def test_first_process_alone_writes(runs):
    run = record(runs / "two")
    assert run["processes"] == 2
    assert run["finished"] == "all epochs done"
    assert len(list((runs / "two" / "tensorboard").iterdir())) == 2, "one a run, not one a process"


def test_unequal_shares_have_the_centre_of_one_process(runs):
    alone = Centre(OUTPUTS.shape[1])
    for shares in SHARES:
        alone.update(torch.cat([OUTPUTS[share] for share in shares]))
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(runs / f"centre{rank}.pt", weights_only=True), alone.value)


def test_batch_that_cannot_be_shared_is_refused(data, cache, tmp_path):
    second = replace(ALONE, rank=1, count=3)
    with pytest.raises(ConfigError, match="batch of 8: expected a multiple of the 3 processes"):
        make_pretrainer([data], tmp_path, NAME, RECIPE, second, cache=cache)
