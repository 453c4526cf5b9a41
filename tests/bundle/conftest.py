"""Exports of the shipped model, by MONAI's own commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from .bundle_commands import INFERENCE, NETWORK, run


@pytest.fixture(scope="session")
def state_dict(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    run("--run_id", "save_weights", *INFERENCE, "--ckpt_path", path)
    return path


@pytest.fixture(scope="session")
def torchscript(state_dict) -> Path:
    path = state_dict.with_name("model.ts")
    run(*NETWORK, "--ckpt_file", state_dict, "--filepath", path, verb="ckpt_export")
    return path
