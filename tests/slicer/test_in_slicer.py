"""The tests in in_slicer/, run in the Slicer environment: without a screen, and on a virtual one."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from outside import program

ROOT = Path(__file__).parents[2]
TESTS = Path(__file__).parent / "in_slicer"
#: Tests of a real window system: focus, keys, shortcuts and what the panel looks like.
WITH_A_SCREEN = {"test_reading.py", "test_screenshots.py"}


def run(python: Path, names: set[str], platform: str, prefix: tuple[str, ...] = ()) -> None:
    """Run test files in one process, on a platform of Qt."""
    command = [
        *prefix, str(python), "-B", "-m", "pytest", "-q", "-c", str(TESTS / "pytest.ini"),
        "--rootdir", str(TESTS),
        "--confcutdir", str(TESTS), "-p", "no:cacheprovider", *(str(TESTS / name) for name in sorted(names)),
    ]  # fmt: skip
    variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": platform}
    environment = os.environ | variables
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800, check=False)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    assert re.search(r"\d+ passed", ran.stdout), ran.stdout
    assert "skipped" not in ran.stdout, ran.stdout


def test_passes_without_a_screen(slicer_python: Path) -> None:
    run(slicer_python, {path.name for path in TESTS.glob("test_*.py")} - WITH_A_SCREEN, "offscreen")


def test_passes_on_an_x_server(slicer_python: Path) -> None:
    prefix = (program("xvfb-run", "xvfb"), "-a", "-s", "-screen 0 1280x1800x24")
    run(slicer_python, WITH_A_SCREEN, "xcb", prefix)


def test_environment_has_no_torch(slicer_python: Path) -> None:
    """Every test above ran without it."""
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is not None)"
    assert subprocess.run([slicer_python, "-c", code], check=False).returncode == 0


def test_environment_is_slicer_s(slicer_python: Path) -> None:
    """What Slicer 5.12 ships (its superbuild's versions), and the version of its libraries."""
    names = ("slicer-core", "numpy", "scipy", "pydicom")
    code = f"import importlib.metadata as m; print([m.version(name) for name in {names}])"
    ran = subprocess.run([slicer_python, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(["5.12.4.0", "2.4.6", "1.17.1", "3.0.2"])
