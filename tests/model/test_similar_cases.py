from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from monai_bone_ssl.errors import ModelError
from monai_bone_ssl.model.folder import read_model_folder, read_spec, write_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.similar_cases import COMPONENTS, SimilarCases

N, WIDTH = 200, 48


def make_cases(seed: int = 0) -> tuple[SimilarCases, np.ndarray]:
    """Features with decreasing variance, so that the leading components are known to matter."""
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(N, WIDTH)) * np.geomspace(10, 0.01, WIDTH) + 3).astype(np.float32)
    labels = rng.integers(0, 2, N)
    parts = np.where(np.arange(N) % 4 == 0, "leg", "hand")
    names = np.array([f"image{number}" for number in range(N)])
    return SimilarCases.fit(features, labels, parts, names), features


def test_the_nearest_are_those_of_a_plain_search_in_principal_components() -> None:
    cases, features = make_cases()
    query = features[17] + 0.5
    centred = features.astype(np.float64) - features.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:COMPONENTS]
    codes, code = centred @ axes.T, (query - features.mean(axis=0)) @ axes.T
    expected = 1 - codes @ code / np.linalg.norm(codes, axis=1) / np.linalg.norm(code)
    found = cases.nearest(query, n=N)
    assert [case.distance for case in found] == sorted(case.distance for case in found)
    by_name = {case.identifier: case.distance for case in found}
    np.testing.assert_allclose([by_name[f"image{i}"] for i in range(N)], expected, atol=5e-3)


def test_a_training_image_is_nearest_to_itself_and_parts_are_kept_apart() -> None:
    cases, features = make_cases()
    first = cases.nearest(features[17])[0]
    assert (first.identifier, first.part, first.label) == ("image17", "hand", int(cases.labels[17]))
    assert first.distance == pytest.approx(0, abs=2e-3)
    legs = cases.nearest(features[17], "leg", 3)
    assert len(legs) == 3
    assert {case.part for case in legs} == {"leg"}
    assert len(cases.nearest(features[17], "leg", 1000)) == N // 4
    assert cases.nearest(features[17], "elbow") == []


def test_what_is_read_is_what_was_written(tiny_folder: Path, tmp_path: Path) -> None:
    cases, features = make_cases()
    content = read_model_folder(tiny_folder)
    write_model_folder(tmp_path, content.weights, content.spec, cases.encode())
    assert cases.encode() == make_cases()[0].encode(), "the same bytes, so the same hash"
    read = SimilarCases.load(tmp_path)
    assert read is not None
    assert read.nearest(features[3], n=9) == cases.nearest(features[3], n=9)
    assert Model(tmp_path).spec.weights_sha256 == content.spec.weights_sha256
    # Nothing in the file needs pickle.
    with np.load(tmp_path / "cases.npz", allow_pickle=False) as file:
        assert {name: file[name].dtype.kind for name in file.files} == {
            "mean": "f", "components": "f", "codes": "f", "labels": "i", "parts": "U", "identifiers": "U"
        }  # fmt: skip


def test_a_model_without_cases_has_none(tiny_folder: Path) -> None:
    assert read_spec(tiny_folder).cases_sha256 is None
    assert SimilarCases.load(tiny_folder) is None


@pytest.mark.parametrize("damage", ["missing", "altered", "no archive"])
def test_damaged_cases_are_refused_and_the_model_still_runs(
    tiny_folder: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    content = read_model_folder(folder)
    cases = b"no archive" if damage == "no archive" else make_cases()[0].encode()
    write_model_folder(folder, content.weights, content.spec, cases)
    if damage == "missing":
        (folder / "cases.npz").unlink()
    if damage == "altered":
        (folder / "cases.npz").write_bytes(make_cases(1)[0].encode())
    with pytest.raises(ModelError, match=r"cases\.npz"):
        SimilarCases.load(folder)
    assert Model(folder).spec.name == "tiny"
