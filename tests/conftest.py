"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from monai_bone_ssl.model import Model, default_model_folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose answers a test works out by hand, see tiny_model.py. Not to be changed."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Model:
    return Model(tiny_folder)


@pytest.fixture(scope="session")
def shipped() -> Model:
    """The model that comes with the package."""
    folder = default_model_folder()
    if not (folder / "model.onnx").is_file():
        pytest.skip("needs the shipped model: bundle/models/model.onnx is not there")
    return Model(folder)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data beside the checkout that stays out of the repository."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs shared/data beside the checkout")
    return folder
