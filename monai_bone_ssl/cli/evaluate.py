"""``bone-ssl evaluate``: figures on labelled data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_bone_ssl.cli.verbs import DATA_KINDS, Verbs, existing, extra, new_verb
from monai_bone_ssl.results import EXIT_OK

__all__ = ["add_verb"]

_DESCRIPTION = f"""\
Measure a model on labelled radiographs.

{DATA_KINDS}
OUT gets metrics.json (each figure with its 95 % interval), predictions.csv and plots.
"""


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    parser = new_verb(verbs, "evaluate", "figures on labelled data", _DESCRIPTION, _run)
    parser.add_argument("data", type=existing, metavar="DATA", help="labelled radiographs")
    parser.add_argument("-o", "--out", required=True, type=Path, help="folder for the figures")
    parser.add_argument("--model", type=Path, metavar="DIR", help="model folder (default: the one shipped)")


def _run(arguments: argparse.Namespace) -> int:
    with extra("evaluate"):
        from monai_bone_ssl.training.evaluate_model import evaluate_model
    from monai_bone_ssl.model import Model, default_model_folder

    summary = evaluate_model(arguments.data, Model(arguments.model or default_model_folder()), arguments.out)
    sys.stdout.write(summary + "\n")
    return EXIT_OK
