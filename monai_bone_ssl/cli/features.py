"""``bone-ssl features``: a network's features of labelled images, as one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_bone_ssl.cli.verbs import (
    DATA_KINDS,
    Verbs,
    add_feature_cache,
    add_input_size,
    add_labelled_data,
    extra,
    new_verb,
)
from monai_bone_ssl.show.results import EXIT_OK

__all__ = ["add_verb"]

_DESCRIPTION = f"""\
Take the features of a frozen network once and write them, with names and labels, as one NumPy file.

Features are cached image by image. A stopped run resumes, and bone-ssl fit finds cached features of the kind
"tokens".

{DATA_KINDS}
WEIGHTS is a safetensors file named after its timm model (vit_small_patch14_dinov2.safetensors,
resnet50.a1_in1k.safetensors); or timm:NAME, which timm downloads (timm:densenet169); or "shipped", the
backbone of the model that comes with the package.

kinds of features:
  tokens   mean and maximum of the last four blocks' patch tokens, of image and mirror image; for fit
  class    class tokens of the last four blocks and the mean patch token, as in DINOv2's linear evaluation
  pooled   globally pooled features of a CNN, of image and mirror image
  auto     tokens for a Vision Transformer, pooled for a CNN

The file (no pickle) holds features [N, D], names, labels, parts, splits and groups. Groups are numbers:
images with the same number belong to one patient and must not be split.

examples:
  bone-ssl features fracatlas/ --backbone vit_small_patch14_dinov2.safetensors -o features.npz
  bone-ssl features MURA-v1.1/ --backbone timm:densenet169 --long-side 320 -o densenet.npz
  torchrun --nproc-per-node 4 -m monai_bone_ssl.cli features MURA-v1.1/ --backbone vit.safetensors -o f.npz

in Python:
  file = numpy.load("features.npz")
  file["features"], file["labels"], file["groups"]
"""


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    parser = new_verb(verbs, "features", "a network's features of labelled images", _DESCRIPTION, _run)
    add_labelled_data(parser)
    parser.add_argument(
        "--backbone", required=True, metavar="WEIGHTS", help="safetensors file, timm:NAME or shipped"
    )
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="FILE.npz", help="file to write")
    parser.add_argument(
        "--features",
        choices=("auto", "tokens", "class", "pooled"),
        default="auto",
        help="kind of features (default: %(default)s)",
    )
    add_input_size(parser)
    add_feature_cache(parser)


def _run(arguments: argparse.Namespace) -> int:
    with extra("train"):
        from monai_bone_ssl.training.compute.distributed import join_processes
        from monai_bone_ssl.training.networks.extractors import load_extractor
        from monai_bone_ssl.training.networks.features import default_cache, export_features

    extractor = load_extractor(arguments.backbone, arguments.features)
    with join_processes():
        export_features(
            arguments.data,
            extractor,
            arguments.out,
            long_side=arguments.long_side,
            cache=arguments.cache or default_cache(),
        )
    return EXIT_OK
