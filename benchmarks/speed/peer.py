"""Runs of the peer application and of this package's command line, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from monai_bone_ssl.model.folder import default_model_folder

__all__ = ["core_python", "peer_python", "run_ours", "run_peer"]

_ROOT = Path(__file__).parents[2]


def core_python() -> Path:
    """Interpreter of the core's own environment (``make core``); this interpreter where there is none."""
    python = _ROOT / ".venv" / "bin" / "python"
    return python if python.is_file() else Path(sys.executable)


def peer_python() -> Path | None:
    """Interpreter with the App SDK, monai and torch, as the SDK's examples need; None where there is none."""
    python = os.environ.get("BONE_SSL_PEER_PYTHON")
    return Path(python) if python and Path(python).is_file() else None


def run_ours(inputs: Path, out: Path) -> float:
    """Run ``bone-ssl analyze`` into an empty folder; returns the largest resident memory in MB."""
    shutil.rmtree(out, ignore_errors=True)
    command = [core_python(), "-m", "monai_bone_ssl.cli", "analyze", inputs, "-o", out]
    return _run([*command, "--model", default_model_folder()], allowed=(0, 4))


def run_peer(python: Path, inputs: Path, out: Path) -> None:
    """Run the peer application into an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    app = Path(__file__).with_name("peer_app.py")
    (cuda,) = python.parents[1].glob(
        "lib/python3*/site-packages/nvidia/cu13/lib"
    )  # the SDK's import needs it
    command = [python, app, "-i", inputs, "-o", out, "-m", default_model_folder()]
    _run(command, allowed=(0,), LD_LIBRARY_PATH=str(cuda))
    if not any(out.glob("*.dcm")):
        raise RuntimeError(f"{app.name}: wrote no report for {inputs}")


def _run(command: list[str | Path], allowed: tuple[int, ...], **variables: str) -> float:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=_ROOT, env=os.environ | variables)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in allowed:
            log.seek(0)
            raise RuntimeError(f"{command[1]}: exit code {process.returncode}\n{log.read()[-2000:]}")
    return usage.ru_maxrss / 1024
