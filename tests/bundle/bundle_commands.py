"""Running ``python -m monai.bundle`` as a user does: another process, the bundle's own configurations."""

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


def start(verb: str, *arguments: str | Path, processes: int = 1, folder: Path = BUNDLE):
    """Run a verb of monai.bundle in a bundle's folder."""
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    if processes == 1:
        return run_module("monai.bundle", [verb, *arguments], folder=folder, environment=environment)
    command = [*_TORCHRUN, "monai.bundle", verb, *map(str, arguments)]
    environment = os.environ | environment
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def run(*arguments: str | Path, processes: int = 1, folder: Path = BUNDLE, verb: str = "run") -> str:
    """The same, expected to end well; returns what it printed."""
    done = start(verb, *arguments, processes=processes, folder=folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def refusal(*arguments: str | Path) -> str:
    """The package's own line in the error of a run that is expected to fail; MONAI's stand around it."""
    done = start("run", *arguments)
    assert done.returncode != 0, done.stdout[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("monai_bone_ssl.errors.")]
    assert lines, done.stderr[-3000:]
    return lines[-1]
