"""``bone-ssl compare``: many models on the same labelled radiographs."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from monai_bone_ssl.cli.verbs import DATA_KINDS, Verbs, add_feature_cache, add_labelled_data, extra, new_verb
from monai_bone_ssl.show.results import EXIT_OK

__all__ = ["add_verb"]

_PROBES = ("linear", "knn")  # as compare_networks.py has them, which needs torch

_DESCRIPTION = f"""\
Compare networks on labelled radiographs in a table with a row for each model and a column for each body part.

The rows are frozen features with a linear probe and with nearest neighbours (--features), networks that are
fine-tuned on the labels (--supervised), and a model that sees body part and image size but no pixel. A figure
that is not better than that last row's says nothing about the images.

Of data with a split of their own (MURA), models learn from train and predict valid once. Other data get five
grouped folds under three seeds. Patients are never split, and all choices are made inside the training
images.

WEIGHTS is a safetensors file named after its timm architecture, such as vit_small_patch14_dinov2.safetensors;
or timm:NAME, which timm downloads; or "shipped", the backbone of the model that comes with the package. Where
no network is given, the shipped one is compared. NAME=WEIGHTS gives a row a name of its own:
ours=vit_small_patch16_224.safetensors.

{DATA_KINDS}
OUT gets
  index.html        the table with 95 % intervals, differences to the baseline with McNemar's and DeLong's
                    tests, plots, where each row points if findings are outlined, the most confident errors
                    with evidence, and labels to look at again
  table.csv         every figure of the table
  comparison.json   everything on the page, for programs
  label_audit.csv   every image with the support of its nearest neighbours for its label
  predictions/      every prediction, written as it comes, so that a stopped run goes on where it was

A backbone that was pre-trained on the images it is judged on has seen them, though not their labels. On data
without a split, say so beside the figures. Of MURA, pretrain takes the training split alone.

example, the paper's table on MURA (the first command makes a backbone, the second compares it):
  bone-ssl pretrain MURA-v1.1/ --backbone vit_small_patch14_dinov2.safetensors -o adapted
  bone-ssl compare MURA-v1.1/ -o mura_table \\
      --features dinov2=vit_small_patch14_dinov2.safetensors \\
      --features adapted=adapted/vit_small_patch14_dinov2.best.safetensors \\
      --features timm:resnet50 --features timm:densenet169 --features timm:efficientnet_b0 \\
      --supervised timm:resnet50 --baseline resnet50 --label-efficiency
"""


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    parser = new_verb(verbs, "compare", "many models on the same labelled data", _DESCRIPTION, _run)
    add_labelled_data(parser)
    parser.add_argument("-o", "--out", required=True, type=Path, help="folder for the table")
    _add_networks(parser)
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="row or network that all rows are compared with "
        "(default: the first CNN, or the row without pixels)",
    )
    _add_measures(parser)
    add_feature_cache(parser)


def _add_networks(parser: argparse.ArgumentParser) -> None:
    """What becomes rows of the table."""
    parser.add_argument(
        "--features",
        action="append",
        default=[],
        metavar="[NAME=]WEIGHTS",
        help="network whose frozen features are classified; may be repeated",
    )
    parser.add_argument(
        "--supervised",
        action="append",
        default=[],
        metavar="[NAME=]WEIGHTS",
        help="network to fine-tune on the labels, under the first seed only; may be repeated",
    )
    parser.add_argument(
        "--probes",
        nargs="+",
        choices=_PROBES,
        default=["linear", "knn"],
        help="rows that each network of --features gets (default: linear knn)",
    )


def _add_measures(parser: argparse.ArgumentParser) -> None:
    """How the rows are measured, and what is shown."""
    parser.add_argument(
        "--long-side",
        type=int,
        default=448,
        metavar="PX",
        help="longer side of every network's input in pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs", type=int, default=20, metavar="N", help="epochs of fine-tuning (default: %(default)s)"
    )
    parser.add_argument(
        "--label-efficiency",
        action="store_true",
        help="measure linear probes on 1, 10, 25 and 100 %% of the training studies too",
    )
    parser.add_argument(
        "--no-images",
        action="store_true",
        help="leave images of the data out of the page, so that it may be shared where they may not",
    )


def _command(arguments: argparse.Namespace) -> str:
    """What to type to get the same table, wherever the cache is."""
    words = ["bone-ssl", "compare", str(arguments.data), "-o", str(arguments.out)]
    for option in ("features", "supervised"):
        for weights in getattr(arguments, option):
            words += [f"--{option}", weights]
    words += ["--probes", *arguments.probes]
    if arguments.baseline is not None:
        words += ["--baseline", arguments.baseline]
    words += ["--long-side", str(arguments.long_side), "--epochs", str(arguments.epochs)]
    words += ["--label-efficiency"] * arguments.label_efficiency + ["--no-images"] * arguments.no_images
    return shlex.join(words)


def _run(arguments: argparse.Namespace) -> int:
    with extra("train"):
        from monai_bone_ssl.training.comparison.compare_networks import compare_networks
        from monai_bone_ssl.training.networks.features import default_cache

    if not arguments.features and not arguments.supervised:
        arguments.features = ["shipped"]
    summary = compare_networks(
        arguments.data,
        arguments.out,
        features=arguments.features,
        supervised=arguments.supervised,
        probes=arguments.probes,
        baseline=arguments.baseline,
        long_side=arguments.long_side,
        epochs=arguments.epochs,
        label_efficiency=arguments.label_efficiency,
        embed_images=not arguments.no_images,
        cache=arguments.cache or default_cache(),
        command=_command(arguments),
    )
    sys.stdout.write(summary + "\n")
    return EXIT_OK
