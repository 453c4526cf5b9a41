"""``bone-ssl pretrain``: images without labels to a backbone."""

from __future__ import annotations

import argparse
from functools import partial
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
log.jsonl, TensorBoard curves and checkpoints. The same command again goes on with an interrupted run; on
the same CPU with as many threads the result is then the same bit for bit.

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

_DEFAULT = "(default: %(default)s)"
# Random weights take DINO's rate; given weights are only adapted, and forget at that rate.
_RATE_FROM_RANDOM, _RATE_FROM_WEIGHTS = 5e-4, 2e-4


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add ``pretrain`` to the command line."""
    parser = new_verb(verbs, "pretrain", "images without labels to a backbone", _DESCRIPTION, _run)
    add = parser.add_argument
    add("data", nargs="+", type=existing, metavar="DATA", help="radiographs; labels are ignored")
    add("-o", "--out", required=True, type=Path, metavar="OUT", help="folder of the run")
    add_start = parser.add_mutually_exclusive_group(required=True).add_argument
    add_start(
        "--backbone", type=existing, metavar="WEIGHTS", help="safetensors file with weights to begin from"
    )
    add_start("--architecture", metavar="TIMM_NAME", help="begin from random weights of this network")
    add("--method", choices=("dino", "mae"), default="dino", help="framework (default: %(default)s)")
    fits = "end after the last epoch that fits into M minutes; the run can go on later"
    add("--minutes", type=float, metavar="M", help=fits)
    add("--cache", type=Path, help="folder for decoded images (default: the user's cache folder)")
    _add_training(parser)
    _add_views(parser)
    _add_objectives(parser)


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("training").add_argument
    number = partial(add, type=int, metavar="N")
    rate = partial(add, type=float, metavar="RATE")
    number("--epochs", default=100, help=f"number of epochs {_DEFAULT}")
    number("--batch-size", default=64, help=f"images in a batch, of all processes together {_DEFAULT}")
    rate(
        "--learning-rate",
        help="highest learning rate, for a batch of 256; it is scaled to the batch "
        f"(default: {_RATE_FROM_RANDOM:g} for random weights, {_RATE_FROM_WEIGHTS:g} for given ones)",
    )
    number("--warmup-epochs", help="epochs of rising learning rate (default: a tenth of all epochs)")
    number("--trainable-blocks", help="train only the last N blocks (default: all blocks)")
    rate("--drop-path", default=0.1, help=f"rate of stochastic depth {_DEFAULT}")
    number("--early-stop", help="end after N epochs without a better score of body parts")
    add("--seed", type=int, default=0, metavar="S", help=f"seed of all random numbers {_DEFAULT}")


def _add_views(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("views").add_argument
    side = partial(add, type=int, metavar="PX")
    side("--long-side", default=448, help=f"longer side of the decoded images in pixels {_DEFAULT}")
    side("--size", default=224, help=f"side of a global view in pixels {_DEFAULT}")
    side("--local-size", help="side of a local view in pixels (default: about 96, whole patches)")
    add("--local-views", type=int, default=6, metavar="N", help=f"local views of each image {_DEFAULT}")
    unmatched = "do not match views of different images of a study"
    add("--no-study-partners", dest="study_partners", action="store_false", help=unmatched)


def _add_objectives(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("objectives of DINO").add_argument
    weight = partial(add, type=float, default=0.0, metavar="W")
    add("--prototypes", type=int, default=8192, metavar="K", help=f"number of outputs of the head {_DEFAULT}")
    add(
        "--teacher-momentum",
        type=float,
        default=0.996,
        metavar="M",
        help="momentum of the teacher's moving average at the first step; it rises to 1. Runs of a few "
        f"hundred steps need less, such as 0.99 {_DEFAULT}",
    )
    weight("--ibot-weight", help="weight of iBOT's loss on masked patches; DINOv2 has 1 (default: 0, off)")
    weight(
        "--koleo-weight",
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
    """Recipe of the options, which have its fields' names; a rate and a warm-up where none is given."""
    from monai_bone_ssl.training.ssl.recipe import Recipe

    options = {name: value for name, value in vars(arguments).items() if name in Recipe.__struct_fields__}
    if arguments.learning_rate is None:
        options["learning_rate"] = _RATE_FROM_RANDOM if arguments.backbone is None else _RATE_FROM_WEIGHTS
    if arguments.warmup_epochs is None:
        options["warmup_epochs"] = arguments.epochs // 10
    return Recipe(**options | {"teacher_momentum": (arguments.teacher_momentum, 1.0)})
