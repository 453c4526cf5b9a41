"""CNN features against timm's own pipeline on normalised colour images."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.training.networks.cnn import load_cnn
from monai_bone_ssl.training.networks.weights import parse_source


@pytest.fixture
def image():
    return torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(1))


def _save(model, path, dtype=torch.float32):
    save_file({key: value.to(dtype).contiguous() for key, value in model.state_dict().items()}, path)
    return str(path)


@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "tf_efficientnet_lite0", "mobilenetv3_small_050"]
)
def test_features_equal_timms_own_on_normalised_colours(name, tmp_path, image):
    torch.manual_seed(0)
    original = timm.create_model(name).eval()  # with its classifier
    config = timm.data.resolve_data_config({}, model=original)
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    cnn = load_cnn(_save(original, tmp_path / f"{name}.safetensors"))
    with torch.inference_mode():
        maps = original.forward_features((image.repeat(1, 3, 1, 1) - mean) / std)
        expected = original.forward_head(maps, pre_logits=True)
        found = cnn(image)
    assert found.shape == (2, cnn.width)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    if name != "mobilenetv3_small_050":  # it has a layer between the pooling and the classifier
        torch.testing.assert_close(found, maps.mean(dim=(2, 3)), atol=1e-5, rtol=1e-5)


def test_half_precision_files_are_read(tmp_path, image):
    model = timm.create_model("resnet18").half().float().eval()
    full = load_cnn(_save(model, tmp_path / "resnet18.safetensors"))
    half = load_cnn(_save(model, tmp_path / "resnet18.fp16.safetensors", torch.float16))
    with torch.inference_mode():
        torch.testing.assert_close(half(image), full(image), atol=1e-5, rtol=1e-5)


def test_the_tag_in_a_files_name_decides_the_normalisation(tmp_path):
    """timm states 0.5 for Inception-style weights of EfficientNet-B0, ImageNet's mean for others."""
    model = timm.create_model("tf_efficientnet_b0")
    means = {}
    for tag in ("aa_in1k", "ap_in1k", "fp16"):
        path = _save(model, tmp_path / f"tf_efficientnet_b0.{tag}.safetensors")
        means[tag] = tuple(round(value, 3) for value in load_cnn(path).mean.flatten().tolist())
    assert means["aa_in1k"] == (0.485, 0.456, 0.406)
    assert means["ap_in1k"] == (0.5, 0.5, 0.5)
    assert means["fp16"] == tuple(round(v, 3) for v in timm.get_pretrained_cfg("tf_efficientnet_b0").mean)


def test_sources_are_understood(tmp_path):
    assert parse_source("timm:resnet50.a1_in1k") == ("resnet50", "resnet50.a1_in1k", None)
    assert parse_source("timm:densenet169") == ("densenet169", "densenet169", None)
    file = tmp_path / "resnet50.mine.safetensors"
    assert parse_source(str(file)) == ("resnet50", "resnet50", file)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("timm:resnet99", "timm:resnet99: expected timm:NAME"),
        ("timm:resnet18.nobody", "no such weights, expected one of resnet18."),
        ("{}/resnet18.safetensors", "not weights of resnet18"),
        ("{}/densenet121.safetensors", "not weights of densenet121"),
    ],
)
def test_wrong_weights_are_named(weights, message, tmp_path):
    save_file({"other": torch.zeros(2)}, tmp_path / "resnet18.safetensors")
    with pytest.raises(ConfigError, match=message) as caught:
        load_cnn(weights.format(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("HF_HUB_OFFLINE", True), ("ENDPOINT", "http://127.0.0.1:9")],
    ids=["told", "nobody"],
)
def test_without_a_network_the_error_names_the_way_out(setting, value, tmp_path, monkeypatch):
    """The real download, where it is forbidden and where nobody answers."""
    monkeypatch.setattr(f"huggingface_hub.constants.{setting}", value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        load_cnn("timm:resnet18")
    assert caught.value.text.startswith("timm:resnet18: the weights could not be downloaded")
    assert "resnet18.safetensors" in caught.value.text
    assert "\n" not in caught.value.text
