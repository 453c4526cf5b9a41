"""Two dozen toy radiographs, prepared once for all runs."""

from __future__ import annotations

import pytest
from toy_radiographs import write_limbs

from training.ssl import runs


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    return write_limbs(tmp_path_factory.mktemp("limbs"), 24)


@pytest.fixture(scope="package")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def narrow_networks():
    with runs.narrow_networks():
        yield
