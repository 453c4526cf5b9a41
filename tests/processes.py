"""Python modules in processes of their own that do not pay again for importing torch and monai.

A server process imports both once (multiprocessing's forkserver) and forks a process for each run. A run has
its own arguments, folder, environment, standard output and exit code, as if it were started from a shell.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_HEAVY = ["monai.bundle", "monai.engines", "monai.handlers", "onnxruntime", "timm", "torch.onnx"]


def run_module(
    module: str,
    arguments: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    processes: int = 1,
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module arguments`` in a folder, on one thread, with more environment variables.

    Several processes are told of each other as by ``torchrun --standalone --nproc-per-node``.
    """
    multiprocessing.set_forkserver_preload(_HEAVY)
    with tempfile.TemporaryDirectory() as name:
        out, err = Path(name) / "stdout", Path(name) / "stderr"
        argv = [module, *map(str, arguments)]
        start = _start_one if processes == 1 else _start_together
        code = start(processes, argv, folder, dict(environment or {}), out, err)
        texts = (path.read_text(encoding="utf-8") for path in (out, err))
        return subprocess.CompletedProcess(argv, code, *texts)


def _start_one(_processes: int, *run: object) -> int:
    process = multiprocessing.get_context("forkserver").Process(target=_run, args=run)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _start_together(processes: int, *run: object) -> int:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="forkserver",
        monitor_interval=0.1,
        max_restarts=0,
    )
    try:
        elastic_launch(config, _run)(*run)
    except ChildFailedError:
        return 1
    return 0


def _run(argv: list[str], folder: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    import torch

    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(1)
    sys.argv = argv
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
