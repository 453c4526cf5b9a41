"""The application under the real SDK, which has an environment of its own (``make deploy``)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from analyses import ROOT, Run
from outside import environment

APP = ROOT / "deploy_app"


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """The interpreter that has the MONAI Deploy App SDK."""
    return environment("deploy", ".venv-deploy")


@pytest.fixture(scope="session")
def sdk_environment(sdk_python: Path) -> dict[str, str]:
    """Environment for the interpreter: this checkout, and CUDA's runtime library on the loader's path."""
    code = "import nvidia.cu13; print(nvidia.cu13.__path__[0])"
    run = subprocess.run([sdk_python, "-c", code], capture_output=True, text=True, check=True)
    return os.environ | {
        "LD_LIBRARY_PATH": f"{run.stdout.strip()}/lib",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="session")
def run_app(sdk_python: Path, sdk_environment: dict[str, str]) -> Callable[..., Run]:
    """Run app.py, or a program around it, as a process of its own."""

    def run(*arguments: str | Path, program: Path = APP / "app.py", **variables: str) -> Run:
        process = subprocess.run(
            [sdk_python, "-B", program, *map(str, arguments)],
            capture_output=True,
            env=sdk_environment | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, APP)))} | variables,
            timeout=300,
            check=False,
        )
        return Run(process.returncode, process.stdout, process.stderr.decode())

    return run
