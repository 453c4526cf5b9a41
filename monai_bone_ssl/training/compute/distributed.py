"""One process or several: what torchrun's environment says, and sums over all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

__all__ = ["Process", "computing_device", "join_processes", "say", "sum_over_processes", "wait_for_all"]

# The first process of a machine may decode images for hours while the others wait.
_PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class Process:
    """This process among those that train together."""

    rank: int
    """Number of this process, from 0."""
    count: int
    """Number of processes."""
    local_rank: int
    """Number of this process on its machine, from 0."""
    device: torch.device
    """Device that this process computes on."""

    def rows(self, images: int) -> slice:
        """This process's rows of a global batch, in which each process has so many images."""
        return slice(self.rank * images, (self.rank + 1) * images)


@contextmanager
def join_processes() -> Iterator[Process]:
    """Meet the other processes that torchrun started, until the block ends; alone where it started none.

    CUDA processes talk by nccl, CPU processes by gloo.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local_rank = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    device = computing_device()
    cuda = device.type == "cuda"
    if cuda:
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    process = Process(rank, count, local_rank, device)
    if count == 1:
        yield process
        return
    dist.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield process
    finally:
        dist.destroy_process_group()


def computing_device() -> torch.device:
    """The GPU, inside :func:`join_processes` this process's own; the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def sum_over_processes(value: Tensor) -> Tensor:
    """The sum of every process's tensor; the tensor itself where there is one process."""
    if dist.is_initialized():
        value = value.clone()
        dist.all_reduce(value)
    return value


def wait_for_all() -> None:
    """Go on when every process got here."""
    if dist.is_initialized():
        dist.barrier()


def say(process: Process, text: str) -> None:
    """Tell the user, once for all processes; progress bars stay whole."""
    if process.rank == 0:
        tqdm.write(text, file=sys.stderr)
