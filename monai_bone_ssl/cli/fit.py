"""``bone-ssl fit``: labelled data and a backbone to a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_bone_ssl.cli.verbs import (
    DATA_KINDS,
    Verbs,
    add_feature_cache,
    add_input_size,
    add_labelled_data,
    existing,
    extra,
    new_verb,
)
from monai_bone_ssl.show.results import EXIT_OK

__all__ = ["add_verb"]

_DESCRIPTION = f"""\
Fit linear probes on the frozen features of a Vision Transformer and write a model folder.

Features are taken once and cached, so a stopped run resumes and a second fit is quick. The regularisation,
the calibration and the operating points are chosen by cross-validation inside DATA that never splits a
patient.

MODEL_DIR also gets cases.npz, by which training images that are similar to an image are found. It has the
names of the images where these are public.

{DATA_KINDS}
example:
  bone-ssl fit fracatlas/ --backbone vit_small_patch14_dinov2.safetensors -o my_model
  bone-ssl analyze study/ -o results --model my_model
"""


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    parser = new_verb(verbs, "fit", "labelled data to a model folder", _DESCRIPTION, _run)
    add_labelled_data(parser)
    parser.add_argument(
        "--backbone",
        required=True,
        type=existing,
        metavar="WEIGHTS",
        help="safetensors file, named after its timm architecture",
    )
    parser.add_argument(
        "-o", "--out", required=True, type=Path, metavar="MODEL_DIR", help="model folder to write"
    )
    parser.add_argument("--name", default="bone_xray_ssl", help="name of the model (default: %(default)s)")
    parser.add_argument(
        "--model-version", default="1.0.0", help="version of the model (default: %(default)s)"
    )
    add_input_size(parser)
    add_feature_cache(parser)


def _run(arguments: argparse.Namespace) -> int:
    with extra("train"):
        from monai_bone_ssl.training.fit import fit
        from monai_bone_ssl.training.networks.features import default_cache

    fit(
        arguments.data,
        arguments.backbone,
        arguments.out,
        name=arguments.name,
        version=arguments.model_version,
        long_side=arguments.long_side,
        cache=arguments.cache or default_cache(),
    )
    return EXIT_OK
