"""Fixtures that tests of several rooms of training share."""

from __future__ import annotations

import pytest

from monai_bone_ssl.training.measure import plots


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are drawn and not painted, which takes most of the time of an evaluation."""
    monkeypatch.setattr(plots, "to_png", lambda _figure: b"")
