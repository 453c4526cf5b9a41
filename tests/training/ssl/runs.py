"""Pre-training runs of a tiny network: what they are asked for, and what they leave."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import partial

import pytest
import torch

from monai_bone_ssl.training.compute.distributed import Process
from monai_bone_ssl.training.ssl import frameworks, self_distillation
from monai_bone_ssl.training.ssl.self_distillation import DINOHead

ALONE = Process(rank=0, count=1, local_rank=0, device=torch.device("cpu"))
NAME = "test_vit"  # timm's smallest: 6 blocks of width 64
BLOCKS = 6
SMALL = {
    "epochs": 2,
    "batch_size": 8,
    "warmup_epochs": 0,
    "long_side": 64,
    "size": 32,
    "local_size": 16,
    "local_views": 2,
    "prototypes": 32,
}


class NarrowHead(DINOHead):
    def __init__(self, in_dim, out_dim):
        super().__init__(in_dim, out_dim, hidden_dim=64, bottleneck_dim=32)


@contextmanager
def narrow_networks():
    """Heads and decoders without the millions of weights that a checkpoint would hold four times."""
    decoder = partial(frameworks.MaskedAutoencoder, decoder_width=32, decoder_depth=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(self_distillation, "DINOHead", NarrowHead)
        patched.setattr(frameworks, "MaskedAutoencoder", decoder)
        yield


def record(out):
    return json.loads((out / "run.json").read_text())


def measures(out):
    """The history without what the clock says."""
    return [
        {name: value for name, value in epoch.items() if name not in ("seconds", "images_per_second")}
        for epoch in record(out)["history"]
    ]


def last(out):
    return (out / f"{NAME}.last.safetensors").read_bytes()


def assert_same_result(out, reference):
    assert measures(out) == measures(reference)
    assert last(out) == last(reference)
    ends = [
        torch.load(folder / "checkpoints" / "checkpoint_epoch=2.pt", weights_only=True)
        for folder in (out, reference)
    ]
    for part in ("module", "optimizer"):
        for one, other in zip(_tensors(ends[0][part]), _tensors(ends[1][part]), strict=True):
            assert torch.equal(one, other)


def _tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list):
        for part in value:
            yield from _tensors(part)
