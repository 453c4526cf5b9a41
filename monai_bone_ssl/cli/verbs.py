"""Parts that the verbs of the command line are made with."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = [
    "DATA_KINDS",
    "Verbs",
    "add_feature_cache",
    "add_input_size",
    "add_labelled_data",
    "add_model",
    "existing",
    "extra",
    "new_verb",
    "print_text",
]

Verbs = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns

#: Kinds of labelled data that DATA may be, for help texts.
DATA_KINDS = """\
DATA is one of
  a MURA v1.1 folder,
  a FracAtlas-style folder: labels.csv, images/ and, for the pointing game, fracture_boxes.json,
  a CSV with the columns path,label,part,patient[,study][,split][,acquisition], or the folder that holds it
  (acquisition: the site, device or period, so that no figure is earned by telling them apart),
  a folder of DICOM files with study_labels.csv: study_instance_uid,label.
"""


def new_verb(
    verbs: Verbs[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Add a verb.

    Parameters
    ----------
    verbs
        Verbs of the command line, or those of another verb.
    name, summary, description
        Name of the verb, its line in the list of verbs, and the page that its ``--help`` shows.
    run
        Function that does the job and returns the exit code.
    """
    parser = verbs.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


def add_labelled_data(parser: argparse.ArgumentParser) -> None:
    """Let a verb take DATA, as :data:`DATA_KINDS` tells."""
    parser.add_argument("data", type=existing, metavar="DATA", help="labelled radiographs")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Let a verb take a model folder."""
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="model folder (default: the model that comes with the package)",
    )


def add_input_size(parser: argparse.ArgumentParser) -> None:
    """Let a verb take the size of a network's input."""
    parser.add_argument(
        "--long-side",
        type=int,
        default=448,
        metavar="PX",
        help="longer side of the network's input in pixels (default: %(default)s)",
    )


def add_feature_cache(parser: argparse.ArgumentParser) -> None:
    """Let a verb take the folder where features are kept between runs."""
    parser.add_argument("--cache", type=Path, help="folder for features (default: the user's cache folder)")


def existing(text: str) -> Path:
    """Take an argument as a path that exists."""
    if not os.path.lexists(text):  # a broken link exists: the results say what is wrong with it
        raise argparse.ArgumentTypeError(f"{text}: no such file or folder")
    return Path(text)


def print_text(text: str) -> None:
    """Print a text that may hold file names; characters that the terminal cannot show are escaped."""
    encoding = sys.stdout.encoding
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def print_error(text: str) -> None:
    """Print the reason why a verb stopped, to the error stream."""
    sys.stderr.write(f"bone-ssl: {text}\n")


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which extra to install where an import of it fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        text = f"{error.name} is not installed: pip install 'monai-bone-ssl[{name}]'"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
