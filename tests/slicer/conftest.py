"""The Slicer environment: an interpreter of its own with slicer-core and what Slicer 5.12 ships."""

from __future__ import annotations

from pathlib import Path

import pytest
from outside import environment

#: Run by test_in_slicer.py in the Slicer environment; this interpreter cannot import them.
collect_ignore = ["in_slicer"]


@pytest.fixture(scope="session")
def slicer_python() -> Path:
    """The interpreter that has slicer-core."""
    return environment("slicer", ".venv-slicer")
