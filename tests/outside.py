"""What tests use beyond the extra ``dev``; where it is absent they skip and say what to install.

A tier is a group of tests that need the same: Debian packages (``tools/debian/*.txt`` names their tiers), an
environment that make builds (``core``, ``deploy``, ``slicer``), the viewer that make fetches (``ohif``), or
an extra (``docs``, ``evaluate``, ``serve``, ``train``). Where ``TIERS_MAY_BE_MISSING`` is set, tests of a
tier that it does not name fail instead. Data beside the checkout, root's rights, and interpreters that make
does not build belong to no tier.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest
from analyses import ROOT

#: Debian package to the tier that needs it.
_TIERS = dict(
    line.split("|")[1:]
    for table in (ROOT / "tools" / "debian").glob("*.txt")
    for line in table.read_text(encoding="utf-8").splitlines()
)


def skip_or_fail(tier: str, need: str) -> NoReturn:
    """Skip the test for what it needs, or fail it where its tier may not be missing."""
    if may_be_missing(tier):
        pytest.skip(need)
    pytest.fail(required(tier, need), pytrace=False)


def may_be_missing(tier: str) -> bool:
    """Whether tests of the tier may be skipped."""
    return tier in os.environ.get("TIERS_MAY_BE_MISSING", tier).split()


def required(tier: str, need: str) -> str:
    """The line of error for a need of a tier that may not be missing."""
    return f"{need}; TIERS_MAY_BE_MISSING does not name {tier}"


def program(name: str, package: str) -> str:
    """Path of a program that comes with a Debian package."""
    tier, found = _TIERS[package], shutil.which(name)
    if found is None:
        skip_or_fail(tier, f"needs {name} (Debian: {package})")
    return found


def file(path: Path, package: str) -> Path:
    """A file that comes with a Debian package."""
    tier = _TIERS[package]
    if not path.exists():
        skip_or_fail(tier, f"needs {path} (Debian: {package})")
    return path


def library(name: str, extra: str) -> None:
    """Need a library that comes with an extra."""
    if find_spec(name) is None:
        skip_or_fail(extra, f"needs {name}: pip install -e '.[{extra}]'")


def environment(tier: str, folder: str) -> Path:
    """Interpreter of an environment that ``make TIER`` builds in a folder of the checkout."""
    if not (ROOT / folder / ".installed").exists():
        skip_or_fail(tier, f"needs {folder}: make {tier}")
    return ROOT / folder / "bin" / "python"


def interpreter(variable: str, libraries: str) -> Path:
    """An interpreter, named by a variable, with libraries that make installs nowhere."""
    if variable not in os.environ:
        pytest.skip(f"needs a Python with {libraries}: set {variable}")
    return Path(os.environ[variable])


def shared(name: str) -> Path:
    """Weights or images beside the checkout, which stay out of the repository."""
    path = ROOT.parent / "shared" / name
    if not path.exists():
        pytest.skip(f"needs ../shared/{name}")
    return path


@contextmanager
def small_file_system(folder: Path, size: str) -> Iterator[Path]:
    """A file system in a folder of its own, for a disk that fills."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, to mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
