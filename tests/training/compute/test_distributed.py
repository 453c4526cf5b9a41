"""Two processes with gloo learn what one process learns from the same global batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from analyses import ROOT
from toy_radiographs import write_limbs

from monai_bone_ssl.training.networks.backbone import create_backbone

NAME = "vit_tiny_patch16_224"
# No drop path: each process draws its own. iBOT, whose masks and second centre have to be shared as well.
ARGUMENTS = ("--architecture", NAME, "--epochs", "3", "--batch-size", "8", "--long-side", "64",
             "--size", "32", "--local-size", "16", "--local-views", "2", "--prototypes", "32",
             "--drop-path", "0", "--learning-rate", "5e-3", "--ibot-weight", "1",
             "--warmup-epochs", "1")  # fmt: skip
ALONE = (sys.executable, "-m")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


def run(start, data, out, cache, *more):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [*start, "monai_bone_ssl.cli", "pretrain", str(data), "-o", str(out), "--cache", str(cache)]
    return subprocess.run([*command, *ARGUMENTS, *more], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run by one process, and by two that are stopped after an epoch and resumed."""
    folder = tmp_path_factory.mktemp("distributed")
    data, cache = write_limbs(folder / "limbs", 24), folder / "cache"
    for start, out, more in (
        (ALONE, "alone", ()),
        (TORCHRUN, "two", ("--minutes", "0")),
        (TORCHRUN, "two", ()),
    ):
        done = run(start, data, folder / out, cache, *more)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


def history(out):
    return json.loads((out / "run.json").read_text())["history"]


def test_two_processes_have_the_loss_curve_of_one_with_the_double_batch(runs):
    """To rounding: gradients are summed in another order, and AdamW divides by their size."""
    alone, two = history(runs / "alone"), history(runs / "two")
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
        begun = create_backbone(NAME).vit.state_dict()
    alone, two = student(runs / "alone"), student(runs / "two")
    way = sum(float((alone[name] - begun[name]).square().sum()) for name in alone)
    apart = sum(float((alone[name] - two[name]).square().sum()) for name in alone)
    assert way > 0.1
    assert apart < 1e-4 * way


def test_first_process_alone_writes(runs):
    record = json.loads((runs / "two" / "run.json").read_text())
    assert record["processes"] == 2
    assert record["finished"] == "all epochs done"
    assert len(list((runs / "two" / "tensorboard").iterdir())) == 2, "one a run, not one a process"


def test_batch_that_cannot_be_shared_is_refused(runs):
    done = run(TORCHRUN, runs / "limbs" / "list.csv", runs / "odd", runs / "cache", "--batch-size", "7")
    assert done.returncode != 0
    assert "batch of 7: expected a multiple of the 2 processes" in done.stderr
