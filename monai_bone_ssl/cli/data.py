"""``bone-ssl data``: look at labelled data before training on them."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_bone_ssl.cli.verbs import DATA_KINDS, Verbs, add_labelled_data, extra, new_verb, print_text
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.show.results import EXIT_OK

__all__ = ["add_verb"]

_EXIT_PROBLEMS = 4
"""The data were read, and something is wrong with them."""

_CHECK = f"""\
Read every list and decode every image of DATA, and name everything that would spoil a figure measured on
DATA:

  patients in both splits, images listed twice, files that are missing or cannot be decoded;
  blank images, colour images, images that look inverted (bright surround);
  images that occur more than once, byte for byte, pixel for pixel or almost (resized, recompressed,
  brightened), in different patients, splits, labels or parts.

Things that may well be in order are notes: an image twice in one patient, both labels in one study. Images
are named, patients are only counted.

{DATA_KINDS}
With -o, OUT gets
  check.json           all problems and notes, for programs
  problems.csv         a line for each image with a problem, to sort and filter
  samples.png          images of each part and label
  problems.png         the first images of each kind of problem

exit codes: 0 no problem (notes may be), 4 problems found, 2 DATA cannot be read as labelled data, 1 fault

examples:
  bone-ssl data check MURA-v1.1/
  bone-ssl data check my_images/list.csv -o check
"""


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add ``data check`` to the command line."""
    summary = "check labelled data before training on them"
    data = verbs.add_parser("data", help=summary, description=f"{summary.capitalize()}.")
    parser = new_verb(
        data.add_subparsers(required=True, metavar="VERB"),
        "check",
        "count images, find leaks, duplicates and unreadable files",
        _CHECK,
        _check,
    )
    add_labelled_data(parser)
    parser.add_argument("-o", "--out", type=Path, metavar="OUT", help="folder for the tables and pictures")


def _check(arguments: argparse.Namespace) -> int:
    with extra("evaluate"):
        from monai_bone_ssl.training.data.check import check_data
        from monai_bone_ssl.training.data.check_report import check_json, check_text, problems_csv
        from monai_bone_ssl.training.data.contact_sheet import problem_sheet, sample_sheet

    check, dataset = check_data(arguments.data)
    print_text(check_text(check))
    if arguments.out is not None:
        write_atomically(arguments.out / "check.json", check_json(check))
        write_atomically(arguments.out / "problems.csv", problems_csv(check.problems))
        write_atomically(arguments.out / "samples.png", sample_sheet(dataset))
        pictures = problem_sheet(check, dataset)
        if pictures is None:
            (arguments.out / "problems.png").unlink(missing_ok=True)  # of an earlier check
        else:
            write_atomically(arguments.out / "problems.png", pictures)
    return EXIT_OK if check.is_clean else _EXIT_PROBLEMS
