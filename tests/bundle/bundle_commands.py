"""Running ``python -m monai.bundle`` with the bundle's own configurations, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from analyses import ROOT
from processes import run_module

BUNDLE = ROOT / "bundle"

INFERENCE = ("--config_file", BUNDLE / "configs" / "inference.json", "--bundle_root", BUNDLE)
NETWORK = ("--net_id", "network_def", "--meta_file", BUNDLE / "configs" / "metadata.json", *INFERENCE)

_TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


def start(verb: str, *arguments: str | Path, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """Run a verb of monai.bundle in the bundle's folder."""
    command, environment = [verb, *arguments], {"CUDA_VISIBLE_DEVICES": ""}
    return run_module("monai.bundle", command, folder=BUNDLE, environment=environment, processes=processes)


def torchrun(verb: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a verb of monai.bundle as two processes, by the command of the documentation."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [*_TORCHRUN, "monai.bundle", verb, *map(str, arguments)]
    return subprocess.run(command, cwd=BUNDLE, env=environment, capture_output=True, text=True)


def run(*arguments: str | Path, processes: int = 1, verb: str = "run") -> str:
    """Run a verb that is expected to end well; returns what it printed."""
    return output_of(start(verb, *arguments, processes=processes))


def output_of(done: subprocess.CompletedProcess[str]) -> str:
    """What a run that ended well printed."""
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def refusal(*arguments: str | Path) -> str:
    """The package's own line in the error of a run that is expected to fail; MONAI's stand around it."""
    done = start("run", *arguments)
    assert done.returncode != 0, done.stdout[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("monai_bone_ssl.errors.")]
    assert lines, done.stderr[-3000:]
    return lines[-1]
