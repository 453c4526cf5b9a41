"""The Slicer environment: an interpreter of its own with slicer-core and what Slicer 5.12 ships."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Run by test_in_slicer.py in the Slicer environment; this interpreter cannot import them.
collect_ignore = ["in_slicer"]


@pytest.fixture(scope="session")
def slicer_python() -> Path:
    """The interpreter that has slicer-core."""
    python = Path(os.environ.get("BONE_SSL_SLICER_PYTHON", ROOT / ".venv-slicer" / "bin" / "python"))
    if not python.exists():
        pytest.skip("slicer-core is not installed (tests/slicer/requirements.txt, or BONE_SSL_SLICER_PYTHON)")
    return python
