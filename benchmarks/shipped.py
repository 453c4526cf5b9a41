"""The shipped model, its network in torch and its features of a data set, for several benchmarks."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.model.folder import default_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.training.data import LabelledDataset, load_dataset
from monai_bone_ssl.training.networks.backbone import load_backbone, round_to_storage
from monai_bone_ssl.training.networks.extractors import PRODUCT_BLOCKS, TokenFeatures
from monai_bone_ssl.training.networks.features import default_cache, extract_features
from monai_bone_ssl.training.networks.network import TokenPooling


@dataclass(frozen=True, eq=False)
class Shipped:
    """The shipped model with its features of a labelled data set."""

    model: Model
    """The shipped model."""
    dataset: LabelledDataset
    """n labelled images."""
    pooling: TokenPooling
    """Network in torch that gives features."""
    features: npt.NDArray[np.float32]
    """Features of the images [n, D]."""


def parse(description: str) -> Shipped:
    """Read DATA and WEIGHTS from the command line, and compute features that are not in the cache."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="labelled radiographs the model was fitted on")
    parser.add_argument("weights", type=Path, help="safetensors file of its backbone")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder for features")
    arguments = parser.parse_args()

    model = Model(default_model_folder())
    dataset = load_dataset(arguments.data)
    backbone = load_backbone(arguments.weights)
    round_to_storage(backbone)
    pooling = TokenPooling(backbone, PRODUCT_BLOCKS).eval()
    paths = [image.path for image in dataset.images]
    features = extract_features(TokenFeatures(pooling), model.spec.preprocessing, paths, arguments.cache)
    return Shipped(model, dataset, pooling, features)
