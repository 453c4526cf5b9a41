"""The command from end to end, with networks of random weights on tiny images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from scipy.special import expit, logit

from monai_bone_ssl.cli import main
from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.model.preprocessing import preprocess
from monai_bone_ssl.training.comparison.compare_networks import compare_networks
from monai_bone_ssl.training.comparison.label_audit import audit_labels
from monai_bone_ssl.training.comparison.network_rows import FeatureShelf, LinearProbeRow, Network
from monai_bone_ssl.training.comparison.protocol import make_protocol
from monai_bone_ssl.training.data import LabelledDataset, load_dataset, read_grey
from monai_bone_ssl.training.data.input_spec import input_spec
from monai_bone_ssl.training.networks.backbone import create_backbone, save_backbone
from monai_bone_ssl.training.networks.extractors import load_extractor
from monai_bone_ssl.training.networks.features import extract_features
from monai_bone_ssl.training.probes.nested import predict_held_out
from training.comparison.brightness import read_csv
from training.comparison.mura_tree import write_mura

SIDE = 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_backbone(create_backbone("vit_tiny_patch16_224"), folder / "vit_tiny_patch16_224.ours.safetensors")
    save_file(timm.create_model("resnet10t").state_dict(), folder / "resnet10t.safetensors")
    return {
        "vit": str(folder / "vit_tiny_patch16_224.ours.safetensors"),
        "cnn": str(folder / "resnet10t.safetensors"),
    }


@pytest.fixture(scope="module")
def mura(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mura(tmp_path_factory.mktemp("mura"), train_studies=3, valid_studies=3)


def test_the_table_from_one_command(
    mura: Path, weights: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", str(mura), "-o", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    arguments += ["--features", f"ours={weights['vit']}", "--features", weights["cnn"]]
    assert main([*arguments, "--long-side", str(SIDE), "--label-efficiency"]) == 0
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    names = ["metadata", "ours, linear probe", "ours, k-NN", "resnet10t, linear probe", "resnet10t, k-NN"]
    assert [row["name"] for row in content["rows"]] == names
    assert content["baseline"] == "resnet10t, linear probe"  # the first CNN
    assert content["protocol"]["probe_scope"].startswith("one for all parts")
    assert len({point["row"] for point in content["label_efficiency"]}) == 2
    assert content["command"].startswith("bone-ssl compare ")
    printed = capsys.readouterr().out
    assert f"{content['rows'][1]['metrics']['auroc']['value']:.3f}  ours, linear probe" in printed

    # What is in the table is what the probe predicts.
    dataset = load_dataset(mura)
    extractor = load_extractor(weights["vit"])
    features = extract_features(
        extractor, input_spec(SIDE, extractor.stride), [i.path for i in dataset.images], tmp_path / "cache"
    )
    (fold,) = make_protocol(dataset).folds
    expected = predict_held_out(features, dataset, fold.train, fold.test)
    found = [
        [float(line["probability"]) for line in read_csv(path)]
        for path in (tmp_path / "out" / "predictions" / "ours_linear_probe").glob("*.csv")
    ]
    assert expected.tolist() in found


def test_with_nothing_named_the_shipped_backbone_is_compared(mura: Path, tmp_path: Path) -> None:
    arguments = ["compare", str(mura), "-o", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert main([*arguments, "--long-side", "28"]) == 0
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [row["name"] for row in content["rows"]] == ["metadata", "shipped, linear probe", "shipped, k-NN"]
    assert "--features shipped" in content["command"]


def test_contributions_of_patches_sum_to_the_logit(
    mura: Path, weights: dict[str, str], tmp_path: Path
) -> None:
    """The calibrated logit of every test image is one line in the sum of its patches: slope and intercept."""
    dataset = load_dataset(mura)
    extractor = load_extractor(weights["vit"])
    network = Network("ours", extractor, input_spec(SIDE, extractor.stride))
    row = LinearProbeRow(network, FeatureShelf(tmp_path))
    (fold,) = make_protocol(dataset).folds
    shown = fold.test[:8]
    contributions = row.contributions(dataset, fold.train, shown)
    assert contributions is not None
    assert sorted(contributions) == shown.tolist()
    rows, columns = preprocess(read_grey(dataset.images[shown[0]].path), network.spec).shape
    assert contributions[int(shown[0])].shape == (rows // 16, columns // 16)
    sums = np.array([contributions[int(i)].sum() for i in shown], dtype=np.float64)
    logits = logit(row.predict(dataset, fold.train, fold.test, 0)[:8])
    slope, intercept = np.polyfit(sums, logits, 1)
    assert slope > 0
    np.testing.assert_allclose(expit(slope * sums + intercept), expit(logits), atol=1e-4)
    assert np.ptp(logits) > 1e-3  # there is something to fit


def test_a_cnn_has_no_contributions(mura: Path, weights: dict[str, str], tmp_path: Path) -> None:
    dataset = load_dataset(mura)
    extractor = load_extractor(weights["cnn"])
    network = Network("cnn", extractor, input_spec(SIDE, extractor.stride))
    (fold,) = make_protocol(dataset).folds
    assert (
        LinearProbeRow(network, FeatureShelf(tmp_path)).contributions(dataset, fold.train, fold.test) is None
    )


def test_shelf_holds_the_latest_features_only(mura: Path, weights: dict[str, str], tmp_path: Path) -> None:
    dataset = load_dataset(mura)
    networks = []
    for key in ("vit", "cnn"):
        extractor = load_extractor(weights[key])
        networks.append(Network(key, extractor, input_spec(SIDE, extractor.stride)))
    shelf = FeatureShelf(tmp_path)
    first = shelf.features(networks[0], dataset)
    assert shelf.features(networks[0], dataset) is first
    shelf.features(networks[1], dataset)
    again = shelf.features(networks[0], dataset)
    assert again is not first
    np.testing.assert_array_equal(again, first)


def test_unknown_baseline_is_refused_with_the_names(
    mura: Path, weights: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError, match="baseline resnet50: expected one of the rows, metadata; ours, linear"
    ):
        compare_networks(
            mura,
            tmp_path / "out",
            features=[f"ours={weights['vit']}"],
            supervised=[],
            probes=["linear"],
            baseline="resnet50",
            long_side=SIDE,
            epochs=1,
            label_efficiency=False,
            embed_images=False,
            cache=tmp_path / "cache",
            command="",
        )


# --- label audit ---


def _dataset(folder: Path, labels: list[int]) -> LabelledDataset:
    lines = ["path,label,part,patient"]
    for i, label in enumerate(labels):
        (folder / f"{i}.png").write_bytes(b"")
        lines.append(f"{i}.png,{label},knee,p{i // 2}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return load_dataset(folder / "list.csv")


def test_audit_finds_planted_wrong_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.tile([0, 1], 30), 2)  # both images of a patient alike
    features = rng.normal(size=(120, 16)).astype(np.float32)
    features[:, 0] += np.where(truth == 1, 6, -6)
    labels = truth.copy()
    planted = [7, 50, 93]
    labels[planted] = 1 - labels[planted]
    found = audit_labels(features, _dataset(tmp_path, labels.tolist()))
    assert {suspect.path for suspect in found[:3]} == {f"{i}.png" for i in planted}
    assert found[2].probability_of_label < 0.3 < 0.7 < found[3].probability_of_label
    assert [s.probability_of_label for s in found] == sorted(s.probability_of_label for s in found)
    assert len(found) == 120


def test_audit_gives_an_images_own_patient_no_vote(tmp_path: Path) -> None:
    """Each patient's two images are equal and equally mislabelled: only the others can tell."""
    rng = np.random.default_rng(1)
    truth = np.repeat(np.tile([0, 1], 30), 2)
    features = np.repeat(rng.normal(size=(60, 16)), 2, axis=0).astype(np.float32)
    features[:, 0] += np.where(truth == 1, 6, -6)
    labels = truth.copy()
    labels[[20, 21]] = 1 - labels[[20, 21]]
    found = audit_labels(features, _dataset(tmp_path, labels.tolist()))
    assert {suspect.path for suspect in found[:2]} == {"20.png", "21.png"}
    assert found[1].probability_of_label < 0.3


# --- the other rows ---


def test_fine_tuning_is_a_row_too(
    mura: Path, weights: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # decoded images go there
    arguments = ["compare", str(mura), "-o", str(tmp_path / "out"), "--long-side", str(SIDE), "--no-images"]
    arguments += ["--features", f"ours={weights['vit']}", "--supervised", f"cnn={weights['cnn']}"]
    assert main([*arguments, "--probes", "knn", "--epochs", "1", "--baseline", "cnn"]) == 0
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    names = ["metadata", "ours, k-NN", "cnn, fine-tuned"]
    assert [row["name"] for row in content["rows"]] == names
    assert content["baseline"] == "cnn, fine-tuned"
    assert content["label_efficiency"] == []
    stored = [len(read_csv(path)) for path in (tmp_path / "out" / "predictions").glob("*/*.csv")]
    assert stored == [content["rows"][0]["metrics"]["n"]] * 3
