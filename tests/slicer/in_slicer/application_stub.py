"""Stands in for the application: importing this makes the module, and what its tests share, importable."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from doubles.application import install_modules

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "slicer_extension" / "BoneXRayReview"

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(MODULE))
sys.path.append(str(ROOT / "tests"))  # last: it has a folder of slicer's name
install_modules()
