"""``bone-ssl analyze``: DICOM files to findings and DICOM SR."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_bone_ssl.cli.verbs import Verbs, add_model, existing, new_verb, print_error, print_text
from monai_bone_ssl.show.results import exit_code, result_json

__all__ = ["add_verb"]

_DESCRIPTION = """\
Analyse bone radiographs: read DICOM files and write one DICOM SR for each study.

OUT gets result.json with an entry for every input file, one SR_*.dcm for each study, one overlay_*.png for
each analysed image, and index.html to look through all of it. With --evidence it also gets two arrays
(float32 [h, w], numpy.load) for each analysed image: evidence_*.npy, the probability of each patch that it
shows the target, and contribution_*.npy, the contribution of each patch to the logit. An image that the model
was not made for is not analysed, and its entry says why.

What an earlier run left in OUT is moved into OUT/earlier_1 (then earlier_2, ...) first. A run that is stopped
leaves whole files and no result.json.

exit codes:
  0  every image was analysed
  1  a fault: the model cannot be trusted, or OUT cannot be written
  2  wrong usage
  3  nothing eligible in the input
  4  some images were not analysed or failed; result.json says why
  130  stopped by Ctrl+C or SIGTERM
"""


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = new_verb(verbs, "analyze", "DICOM files to findings and DICOM SR", _DESCRIPTION, _run)
    parser.add_argument(
        "paths",
        nargs="+",
        type=existing,
        metavar="PATH",
        help="DICOM files, or folders of them in any nesting",
    )
    parser.add_argument("-o", "--out", required=True, type=Path, help="folder for the results")
    add_model(parser)
    parser.add_argument(
        "--evidence",
        action="store_true",
        help="also write evidence_*.npy and contribution_*.npy, for viewers that draw the patches themselves",
    )
    parser.add_argument("--json", action="store_true", help="print result.json instead of a table")


def _run(arguments: argparse.Namespace) -> int:
    from monai_bone_ssl.dicom.collect import find_files
    from monai_bone_ssl.model.folder import default_model_folder
    from monai_bone_ssl.model.inference import Model
    from monai_bone_ssl.pipeline import analyse, make_output_folder, set_aside_earlier_run
    from monai_bone_ssl.show.console import results_table
    from monai_bone_ssl.threads import images_at_once

    at_once, threads = images_at_once(len(find_files(arguments.paths, skip=arguments.out)))
    model = Model(arguments.model or default_model_folder(), threads=threads)
    make_output_folder(arguments.out, arguments.paths)
    if (aside := set_aside_earlier_run(arguments.out)) is not None:
        print_error(f"results of an earlier run are now in {aside}")
    results = analyse(arguments.paths, arguments.out, model, patch_maps=arguments.evidence, at_once=at_once)
    if arguments.json:
        sys.stdout.buffer.write(result_json(results))
    elif results.images:
        print_text(results_table(results, model.spec.target, arguments.out))
    if not results.images:
        print_error("no file in the input: expected DICOM files")
    return exit_code(results)
