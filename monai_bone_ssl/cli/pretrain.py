"""``bone-ssl pretrain``: images without labels to a backbone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from monai_bone_ssl.cli.verbs import Verbs, existing, extra, new_verb
from monai_bone_ssl.show.results import EXIT_OK

if TYPE_CHECKING:
    from monai_bone_ssl.training.ssl.recipe import Recipe

__all__ = ["add_verb"]

_DESCRIPTION = """\
Pre-train a Vision Transformer on radiographs without labels (DINO, with iBOT and KoLeo as options, or MAE).

Each DATA is a MURA v1.1 folder, a FracAtlas-style folder, a CSV list, or a folder of DICOM, PNG or JPEG
images. No label is read. Of data with a training split only that split is used. Several sources are
balanced: each is drawn from in proportion to the square root of its size.

OUT gets the backbone after the last epoch (<timm name>.last.safetensors) and after the epoch whose features
told body parts apart best (.best.safetensors), both for "bone-ssl fit --backbone". It also gets run.json,
log.jsonl, TensorBoard curves and checkpoints. The same command again goes on with an interrupted run; on a
CPU the result is then the same bit for bit.

examples:
  bone-ssl pretrain fracatlas/ -o run --backbone vit_small_patch14_dinov2.safetensors --epochs 100
      adapt given weights to radiographs; a GPU is used in bfloat16, with compiled blocks
  bone-ssl pretrain fracatlas/ -o run --backbone vit_small_patch14_dinov2.safetensors --trainable-blocks 2
      train the last two blocks only, which a CPU can do within hours
  bone-ssl pretrain MURA-v1.1/ archive/ -o run --architecture vit_small_patch16_224 \\
      --ibot-weight 1 --koleo-weight 0.1
      begin from random weights, on two sources, with all objectives of DINOv2
  torchrun --nproc-per-node 2 -m monai_bone_ssl.cli pretrain MURA-v1.1/ -o run \\
      --architecture vit_small_patch16_224
      use two GPUs of one machine; each takes half of every batch
"""

# Random weights take DINO's rate; given weights are only adapted, and forget at that rate.
_RATE_FROM_RANDOM, _RATE_FROM_WEIGHTS = 5e-4, 2e-4


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    parser = new_verb(verbs, "pretrain", "images without labels to a backbone", _DESCRIPTION, _run)
    parser.add_argument(
        "data", nargs="+", type=existing, metavar="DATA", help="radiographs; labels are ignored"
    )
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUT", help="folder of the run")
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument(
        "--backbone", type=existing, metavar="WEIGHTS", help="safetensors file with weights to begin from"
    )
    start.add_argument(
        "--architecture", metavar="TIMM_NAME", help="begin from random weights of this network"
    )
    parser.add_argument(
        "--method", choices=("dino", "mae"), default="dino", help="framework (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="end after the last epoch that fits into M minutes; the run can go on later",
    )
    parser.add_argument(
        "--cache", type=Path, help="folder for decoded images (default: the user's cache folder)"
    )
    _add_training(parser)
    _add_views(parser)
    _add_objectives(parser)


def _add_training(parser: argparse.ArgumentParser) -> None:
    training = parser.add_argument_group("training")
    training.add_argument(
        "--epochs", type=int, default=100, metavar="N", help="number of epochs (default: %(default)s)"
    )
    training.add_argument(
        "--batch-size",
        type=int,
        default=64,
        metavar="N",
        help="images in a batch, of all processes together (default: %(default)s)",
    )
    training.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help="highest learning rate, for a batch of 256; it is scaled to the batch "
        f"(default: {_RATE_FROM_RANDOM:g} for random weights, {_RATE_FROM_WEIGHTS:g} for given ones)",
    )
    training.add_argument(
        "--warmup-epochs",
        type=int,
        metavar="N",
        help="epochs of rising learning rate (default: a tenth of all epochs)",
    )
    training.add_argument(
        "--trainable-blocks", type=int, metavar="N", help="train only the last N blocks (default: all blocks)"
    )
    training.add_argument(
        "--drop-path",
        type=float,
        default=0.1,
        metavar="RATE",
        help="rate of stochastic depth (default: %(default)s)",
    )
    training.add_argument(
        "--early-stop", type=int, metavar="N", help="end after N epochs without a better score of body parts"
    )
    training.add_argument(
        "--seed", type=int, default=0, metavar="S", help="seed of all random numbers (default: %(default)s)"
    )


def _add_views(parser: argparse.ArgumentParser) -> None:
    views = parser.add_argument_group("views")
    views.add_argument(
        "--long-side",
        type=int,
        default=448,
        metavar="PX",
        help="longer side of the decoded images in pixels (default: %(default)s)",
    )
    views.add_argument(
        "--size",
        type=int,
        default=224,
        metavar="PX",
        help="side of a global view in pixels (default: %(default)s)",
    )
    views.add_argument(
        "--local-size",
        type=int,
        metavar="PX",
        help="side of a local view in pixels (default: about 96, whole patches)",
    )
    views.add_argument(
        "--local-views",
        type=int,
        default=6,
        metavar="N",
        help="local views of each image (default: %(default)s)",
    )
    views.add_argument(
        "--no-study-partners", action="store_true", help="do not match views of different images of a study"
    )


def _add_objectives(parser: argparse.ArgumentParser) -> None:
    objectives = parser.add_argument_group("objectives of DINO")
    objectives.add_argument(
        "--prototypes",
        type=int,
        default=8192,
        metavar="K",
        help="number of outputs of the head (default: %(default)s)",
    )
    objectives.add_argument(
        "--teacher-momentum",
        type=float,
        default=0.996,
        metavar="M",
        help="momentum of the teacher's moving average at the first step; it rises to 1. Runs of a few "
        "hundred steps need less, such as 0.99 (default: %(default)s)",
    )
    objectives.add_argument(
        "--ibot-weight",
        type=float,
        default=0.0,
        metavar="W",
        help="weight of iBOT's loss on masked patches; DINOv2 has 1 (default: 0, off)",
    )
    objectives.add_argument(
        "--koleo-weight",
        type=float,
        default=0.0,
        metavar="W",
        help="weight of the KoLeo loss, which spreads features; DINOv2 has 0.1 (default: 0, off)",
    )


def _run(arguments: argparse.Namespace) -> int:
    with extra("train"):
        from monai_bone_ssl.training.compute.image_cache import default_image_cache
        from monai_bone_ssl.training.ssl.pretrain import pretrain

    pretrain(
        arguments.data,
        arguments.out,
        arguments.backbone or arguments.architecture,
        _recipe(arguments),
        cache=arguments.cache or default_image_cache(),
        minutes=arguments.minutes,
    )
    return EXIT_OK


def _recipe(arguments: argparse.Namespace) -> Recipe:
    from monai_bone_ssl.training.ssl.recipe import Recipe

    rate = _RATE_FROM_RANDOM if arguments.backbone is None else _RATE_FROM_WEIGHTS
    return Recipe(
        method=arguments.method,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        learning_rate=rate if arguments.learning_rate is None else arguments.learning_rate,
        warmup_epochs=arguments.epochs // 10 if arguments.warmup_epochs is None else arguments.warmup_epochs,
        drop_path=arguments.drop_path,
        trainable_blocks=arguments.trainable_blocks,
        long_side=arguments.long_side,
        size=arguments.size,
        local_size=arguments.local_size,
        local_views=arguments.local_views,
        prototypes=arguments.prototypes,
        teacher_momentum=(arguments.teacher_momentum, 1.0),
        ibot_weight=arguments.ibot_weight,
        koleo_weight=arguments.koleo_weight,
        study_partners=not arguments.no_study_partners,
        early_stop=arguments.early_stop,
        seed=arguments.seed,
    )
