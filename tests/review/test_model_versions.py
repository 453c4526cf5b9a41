"""A store of model versions: adopt, roll back, and never be led to a model that is not the one meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_bone_ssl.errors import ConfigError, ModelError, ReportError
from monai_bone_ssl.model.folder import read_current
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.review.adaptation.adapt import AdaptationReport
from monai_bone_ssl.review.adaptation.model_versions import adopt, rollback, versions
from monai_bone_ssl.review.worklist import Worklist


def test_a_store_is_a_model_folder_that_can_go_back(
    site: tuple[Path, Worklist], adapted: tuple[AdaptationReport, Path], tmp_path: Path
) -> None:
    store, model = tmp_path / "store", site[0] / "model"
    assert adopt(store, adapted[1], model, "Doe^Anna") == "0.1.0+site.1"
    assert Model(store).fingerprint == Model(adapted[1]).fingerprint
    assert versions(store) == ["0.1.0", "0.1.0+site.1"]
    assert rollback(store, "Roe^Ben") == read_current(store).version == "0.1.0"
    assert Model(store).fingerprint == Model(model).fingerprint
    with pytest.raises(ConfigError, match="is the first one"):
        rollback(store, "Roe^Ben")
    adopt(store, adapted[1], tmp_path / "not asked for", "Chief")
    assert [(c.version, c.by, c.action) for c in read_current(store).history] == [
        ("0.1.0", "Doe^Anna", "imported"),
        ("0.1.0+site.1", "Doe^Anna", "adopted"),
        ("0.1.0", "Roe^Ben", "rolled back"),
        ("0.1.0+site.1", "Chief", "adopted"),
    ]


def test_a_version_is_never_overwritten_nor_a_stranger_adopted(
    site: tuple[Path, Worklist], adapted: tuple[AdaptationReport, Path], tmp_path: Path, tiny_folder: Path
) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    with pytest.raises(ConfigError, match="another model has this version"):
        adopt(store, tiny_folder, site[0] / "model", "Doe^Anna")
    with pytest.raises(ConfigError, match="adapted from another model"):
        adopt(other, adapted[1], tiny_folder, "Doe^Anna")
    assert (read_current(store).version, read_current(other).version) == ("0.1.0", "0.1.0")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"version": "../../model", "history": []}', b'{"version": "9", "history": []}', b"\xff"],
)
def test_a_damaged_store_is_no_model(
    site: tuple[Path, Worklist], adapted: tuple[AdaptationReport, Path], tmp_path: Path, content: bytes
) -> None:
    adopt(tmp_path, adapted[1], site[0] / "model", "Chief")
    (tmp_path / "current.json").write_bytes(content)
    with pytest.raises(ModelError):
        Model(tmp_path)


def test_a_damaged_version_cannot_be_gone_back_to(
    site: tuple[Path, Worklist], adapted: tuple[AdaptationReport, Path], tmp_path: Path
) -> None:
    adopt(tmp_path, adapted[1], site[0] / "model", "Doe^Anna")
    (tmp_path / "versions" / "0.1.0" / "model.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match="sha256"):
        rollback(tmp_path, "Doe^Anna")
    assert read_current(tmp_path).version == "0.1.0+site.1"


def test_a_store_that_cannot_be_written(
    site: tuple[Path, Worklist], adapted: tuple[AdaptationReport, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match="cannot be written"):
        adopt(tmp_path / "file", adapted[1], site[0] / "model", "Chief")
