"""The command line: one verb a job; what a verb needs is imported when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from monai_bone_ssl import __version__
from monai_bone_ssl.errors import BoneSSLError, ConfigError, ReasonCode
from monai_bone_ssl.results import (
    EXIT_FAULT,
    EXIT_OK,
    EXIT_USAGE,
    exit_code,
    result_json,
)

__all__ = ["main"]

_ABOUT = """\
Bone radiographs to coded findings: self-supervised Vision Transformer features and linear probes.

  bone-ssl analyze study/ -o results      DICOM in; DICOM SR, pictures and result.json out
  bone-ssl VERB --help                    what a verb takes, writes and answers

Research software, not a medical device: every result has to be verified by a qualified reader.
"""

_ANALYZE = """\
Analyse bone radiographs: DICOM in, one DICOM SR a study out.

OUT gets result.json (one entry for every input file), SR_*.dcm (a study), overlay_*.png (an analysed image)
and index.html (all of it to look through). An image the model was not made for is answered "not analysed"
with the reason, never guessed at.

exit codes:
  0  every image was analysed
  1  a fault: the model cannot be trusted, or OUT cannot be written
  2  wrong usage
  3  nothing eligible in the input
  4  some images were not analysed or failed; result.json says why
"""

_EVALUATE = """\
Measure a model on labelled radiographs.

DATA is one of
  a MURA v1.1 folder,
  a FracAtlas-style folder: labels.csv, images/ and, for the pointing game, fracture_boxes.json,
  a CSV with the columns path,label,part,patient[,study].
OUT gets metrics.json (each figure with its 95 % interval), predictions.csv and plots.
"""

_FIT = """\
Fit linear probes on the frozen features of a Vision Transformer and write a model folder.

Features are taken once and cached; a stopped run resumes, a second fit is quick. The regularisation, the
calibration and the operating points are chosen by cross-validation inside DATA, patients never split.

example:
  bone-ssl fit fracatlas/ --backbone vit_small_patch14_dinov2.safetensors -o my_model
  bone-ssl analyze study/ -o results --model my_model
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code (contract C2)."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except BoneSSLError as error:
        print(f"bone-ssl: {error}", file=sys.stderr)  # noqa: T201 - this is the command line
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAULT
    except KeyboardInterrupt:
        print("bone-ssl: stopped", file=sys.stderr)  # noqa: T201
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bone-ssl", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"bone-ssl {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    analyze = _verb(verbs, "analyze", "DICOM files to findings and DICOM SR", _ANALYZE, _analyze)
    analyze.add_argument(
        "paths", nargs="+", type=_existing, metavar="PATH", help="files or folders, any nesting"
    )
    analyze.add_argument("-o", "--out", required=True, type=Path, help="folder for the results")
    analyze.add_argument("--model", type=Path, metavar="DIR", help="model folder (default: the one shipped)")
    analyze.add_argument("--json", action="store_true", help="print result.json instead of a table")

    evaluate = _verb(verbs, "evaluate", "figures on labelled data", _EVALUATE, _evaluate)
    evaluate.add_argument("data", type=_existing, metavar="DATA", help="labelled radiographs")
    evaluate.add_argument("-o", "--out", required=True, type=Path, help="folder for the figures")
    evaluate.add_argument("--model", type=Path, metavar="DIR", help="model folder (default: the one shipped)")

    fit = _verb(verbs, "fit", "labelled data to a model folder", _FIT, _fit)
    fit.add_argument("data", type=_existing, metavar="DATA", help="labelled radiographs, as for evaluate")
    fit.add_argument("--backbone", required=True, type=_existing, metavar="WEIGHTS", help="safetensors file")
    fit.add_argument("-o", "--out", required=True, type=Path, metavar="MODEL_DIR", help="the model folder")
    fit.add_argument("--name", default="bone_xray_ssl", help="the model's name (default: %(default)s)")
    fit.add_argument("--model-version", default="1.0.0", help="the model's version (default: %(default)s)")
    fit.add_argument(
        "--long-side", type=int, default=448, metavar="PX", help="input size (default: %(default)s)"
    )
    fit.add_argument("--cache", type=Path, help="folder for features (default: the user's cache folder)")
    return parser


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


def _existing(text: str) -> Path:
    if not os.path.lexists(text):  # a broken link exists: the results say what is wrong with it
        raise argparse.ArgumentTypeError(f"{text}: no such file or folder")
    return Path(text)


def _analyze(arguments: argparse.Namespace) -> int:
    from monai_bone_ssl.console import results_table
    from monai_bone_ssl.model import Model, default_model_folder
    from monai_bone_ssl.pipeline import analyse

    model = Model(arguments.model or default_model_folder())
    results = analyse(arguments.paths, arguments.out, model)
    if arguments.json:
        sys.stdout.buffer.write(result_json(results))
    elif results.images:
        _print_text(results_table(results, model.spec.target, arguments.out))
    if not results.images:
        print("bone-ssl: no file in the input: expected DICOM files", file=sys.stderr)  # noqa: T201
    return exit_code(results)


def _print_text(text: str) -> None:
    """Print what may hold file names, whatever the terminal can show."""
    encoding = sys.stdout.encoding
    print(text.encode(encoding, "backslashreplace").decode(encoding))  # noqa: T201


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Say which extra to install where an import of it fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        text = f"{error.name} is not installed: pip install 'monai-bone-ssl[{name}]'"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error


def _evaluate(arguments: argparse.Namespace) -> int:
    with _extra("evaluate"):
        from monai_bone_ssl.training.evaluate_model import evaluate_model
    from monai_bone_ssl.model import Model, default_model_folder

    summary = evaluate_model(arguments.data, Model(arguments.model or default_model_folder()), arguments.out)
    sys.stdout.write(summary + "\n")
    return EXIT_OK


def _fit(arguments: argparse.Namespace) -> int:
    with _extra("train"):
        from monai_bone_ssl.training.features import default_cache
        from monai_bone_ssl.training.fit import fit

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


if __name__ == "__main__":
    sys.exit(main())
