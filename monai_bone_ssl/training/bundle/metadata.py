"""The bundle's metadata.json: what it states of network and packages is computed from their definitions.

``python -m monai_bone_ssl.training.bundle.metadata bundle`` brings the file of a bundle folder up to date.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from monai_bone_ssl import __version__
from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.model.folder import read_model_folder
from monai_bone_ssl.model.spec import ModelSpec

__all__ = ["contract", "update"]

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
# Beside monai, torch and numpy, which have fields of their own.
_PACKAGES = ("onnx", "pillow", "pydicom", "pytorch-ignite", "timm")


def contract(spec: ModelSpec) -> dict[str, Any]:
    """The fields that tools rely on, in the terms of the model zoo's schema.

    Parameters
    ----------
    spec
        Content of model.json in the bundle.
    """
    return {
        "schema": _SCHEMA,
        "version": spec.version,
        "monai_version": _public(version("monai")),
        "pytorch_version": _public(version("torch")),
        "numpy_version": _public(version("numpy")),
        "required_packages_version": {
            "monai-bone-ssl": __version__,
            **{name: _public(version(name)) for name in _PACKAGES},
        },
        "pred_classes": f"{spec.target.name}: negative, indeterminate, positive",
        "data_source": "; ".join(f"{data.name}: {data.source}" for data in spec.training_data),
        "eval_metrics": {name: round(figure.value, 3) for name, figure in spec.figures.items()},
        "network_data_format": {
            "inputs": {"image": _image(spec)},
            "outputs": {"pred": _map(spec)},
        },
    }


def update(bundle: Path) -> None:
    """Rewrite the contract's fields in ``configs/metadata.json``; the others are left as they are.

    Raises
    ------
    ConfigError
        If there is no such file, or it is not JSON.
    ModelError
        If the bundle's model cannot be trusted.
    """
    path = bundle / "configs" / "metadata.json"
    try:
        stated = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        text = f"{path}: expected the bundle's metadata ({error})"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
    stated |= contract(read_model_folder(bundle / "models").spec)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(stated), indent=4) + b"\n")


def _image(spec: ModelSpec) -> dict[str, Any]:
    whole_patches = f"{spec.preprocessing.patch_size}*n"
    return {
        "type": "image",
        "format": "magnitude",
        "modality": "radiograph (CR, DX), rows x columns, bright = dense",
        "num_channels": 1,
        "spatial_shape": [whole_patches, whole_patches],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "grey"},
    }


def _map(spec: ModelSpec) -> dict[str, Any]:
    scores = [f"logit of {spec.target.name}", "distance to the training images"]
    parts = [f"logit of body part {part.name}" for part in spec.body_parts]
    patches = [f"score of each patch for {spec.target.name}", "contribution of each patch to the logit"]
    channels = [*patches, *scores, *parts]
    return {
        # Not "image": MONAI Deploy's operator takes that for one channel of labels, in uint8.
        "type": "array",
        "format": "features",
        "num_channels": len(channels),
        "spatial_shape": ["n", "n"],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {str(number): meaning for number, meaning in enumerate(channels)},
    }


def _public(full: str) -> str:
    """A version without the tag of a local build, as torch's +cu130."""
    return full.split("+")[0]


if __name__ == "__main__":
    update(Path(sys.argv[1]))
