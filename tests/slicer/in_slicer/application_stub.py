"""Stands in for the application in a process of its own: importing this makes the module importable."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from doubles.application import install_modules

install_modules()
