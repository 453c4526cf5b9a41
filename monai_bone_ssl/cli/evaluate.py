"""``bone-ssl evaluate``: figures on labelled data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_bone_ssl.cli.verbs import DATA_KINDS, Verbs, add_labelled_data, add_model, extra, new_verb
from monai_bone_ssl.show.results import EXIT_OK

__all__ = ["add_verb"]

_DESCRIPTION = f"""\
Measure a model on labelled radiographs.

{DATA_KINDS}
OUT gets metrics.json (each figure with its 95 % interval), predictions.csv and plots.

The files do not say what a label means. FracAtlas-style labels are taken to mean fractures, all others to
mean abnormalities. If the model looks for something else, a caution says so, and the figures are given all
the same.

example:
  bone-ssl evaluate held_out.csv -o figures --model my_model
"""


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    parser = new_verb(verbs, "evaluate", "figures on labelled data", _DESCRIPTION, _run)
    add_labelled_data(parser)
    parser.add_argument("-o", "--out", required=True, type=Path, help="folder for the figures")
    add_model(parser)


def _run(arguments: argparse.Namespace) -> int:
    with extra("evaluate"):
        from monai_bone_ssl.training.measure.evaluate_model import evaluate_model
    from monai_bone_ssl.model.folder import default_model_folder
    from monai_bone_ssl.model.inference import Model

    summary = evaluate_model(arguments.data, Model(arguments.model or default_model_folder()), arguments.out)
    sys.stdout.write(summary + "\n")
    return EXIT_OK
