"""One comparison of three rows on a MURA-shaped tree: what most tests of the table and the page look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_bone_ssl.training.comparison.methods import MetadataBaseline
from monai_bone_ssl.training.comparison.outcome import ModelComparison, SuspectLabel
from monai_bone_ssl.training.data import LabelledDataset, load_dataset
from training.comparison.brightness import Brightness, run
from training.comparison.mura_tree import write_mura

HOSTILE = "<script>document.title='owned'</script>\u202e & co"


@pytest.fixture(scope="package")
def mura(tmp_path_factory: pytest.TempPathFactory) -> LabelledDataset:
    return load_dataset(write_mura(tmp_path_factory.mktemp("mura")))


@pytest.fixture(scope="package")
def compared(mura: LabelledDataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelComparison, Path]:
    out = tmp_path_factory.mktemp("compared")
    rows = (MetadataBaseline(), Brightness(), Brightness(HOSTILE, steepness=2.0))
    suspects = [
        SuspectLabel(image.name, image.label, image.part, 0.01 * i) for i, image in enumerate(mura.images)
    ]
    found = run(mura, out, *rows, suspects=suspects, probe_scope="one for all parts")
    return found, out
