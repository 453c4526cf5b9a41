"""A model folder read back into torch: onnxruntime, which ran the same file, is the oracle."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from monai_bone_ssl.errors import ModelError
from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.inference import OUTPUT_NAMES, Model
from monai_bone_ssl.training.networks.backbone import create_backbone, round_to_storage
from monai_bone_ssl.training.networks.export import store_compactly, to_onnx, write_model
from monai_bone_ssl.training.networks.network import ProbedViT, TokenPooling
from monai_bone_ssl.training.networks.torch_model import load_network


def _assert_same(network, model, image):
    with torch.inference_mode():
        found = network(torch.from_numpy(image))
    prediction = model.predict(image)
    for name, output in zip(OUTPUT_NAMES, found, strict=True):
        np.testing.assert_allclose(output.numpy(), getattr(prediction, name), atol=1e-3, err_msg=name)


@pytest.fixture(scope="module")
def written(tmp_path_factory, shipped):
    """A small network with arbitrary probes, stored as a fit stores its own."""
    torch.manual_seed(0)
    backbone = create_backbone("test_vit")
    torch.nn.init.normal_(backbone.position, std=0.3)
    round_to_storage(backbone)
    network = ProbedViT(TokenPooling(backbone, blocks=3), hidden=6, highest=3, body_parts=4, components=5)
    network.distance.mean.normal_()
    network.distance.directions.normal_()
    network = network.eval().requires_grad_(False)
    folder = tmp_path_factory.mktemp("model")
    write_model(store_compactly(to_onnx(network, 64, 48)), shipped.spec, folder)
    return network, folder


def test_a_network_comes_back_with_every_weight(written):
    network, folder = written
    loaded = load_network(folder)
    assert loaded.pooling.blocks == 3
    for name, value in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, atol=1e-7, rtol=1e-6, msg=name)


@pytest.mark.parametrize("shape", [(1, 1, 64, 48), (2, 1, 48, 96)])
def test_torch_equals_onnxruntime(written, shape):
    _, folder = written
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    _assert_same(load_network(folder), Model(folder), image)


@pytest.mark.parametrize("shape", [(1, 1, 448, 364), (1, 1, 70, 140)])
def test_torch_equals_onnxruntime_for_the_shipped_model(shipped, shape):
    image = np.random.default_rng(1).random(shape, dtype=np.float32)
    _assert_same(load_network(default_model_folder()), shipped, image)


def test_layers_that_the_exporter_folds_away_are_kept(tmp_path, shipped):
    """A mean of zeros is not subtracted, equal norms are stored once: the file holds them all the same."""
    network = ProbedViT(TokenPooling(create_backbone("test_vit"), 2), 6, 3, 4, 5).eval()
    network.distance.directions.fill_(0.5)
    write_model(to_onnx(network.requires_grad_(False), 64, 48), shipped.spec, tmp_path)
    state = load_network(tmp_path).state_dict()
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_the_file_names_no_path_of_the_machine_that_made_it(written):
    content = (written[1] / "model.onnx").read_bytes()
    assert str(Path(__file__).parents[3]).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content


def test_a_foreign_network_is_named(tiny_folder, tmp_path):
    with pytest.raises(ModelError, match=r"model\.onnx: expected a network of this package's export"):
        load_network(tiny_folder)
    with pytest.raises(ModelError, match=r"model\.json: cannot be read"):
        load_network(tmp_path)


def test_a_network_without_a_weight_is_named(written, tmp_path):
    _, folder = written
    model = onnx.load(folder / "model.onnx")
    kept = [t for t in model.graph.initializer if t.name != "body_part.bias"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    weights = model.SerializeToString()
    (tmp_path / "model.onnx").write_bytes(weights)
    spec = msgspec.structs.replace(Model(folder).spec, weights_sha256=hashlib.sha256(weights).hexdigest())
    (tmp_path / "model.json").write_bytes(msgspec.json.encode(spec))
    with pytest.raises(ModelError, match=r"body_part\.bias"):
        load_network(tmp_path)


def test_any_onnx_reader_finds_the_torch_names(written):
    """What the format promises to others: the names alone, without this package."""
    network, folder = written
    outputs = {name for node in onnx.load(folder / "model.onnx").graph.node for name in node.output}
    stored = outputs | {tensor.name for tensor in onnx.load(folder / "model.onnx").graph.initializer}
    assert all({name, f"{name}_transposed"} & stored for name in network.state_dict())
    assert ort.InferenceSession(folder / "model.onnx").get_modelmeta().custom_metadata_map == {
        "timm_architecture": "test_vit",
        "pooled_blocks": "3",
        "highest_patches": "3",
    }
