"""Bone radiographs in, DICOM Structured Reports out, as a MONAI Deploy application.

    python app.py -i study/ -o results/

Exit codes are those of ``bone-ssl analyze``; README.md beside this file explains them.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from holoscan.logger import LogLevel, set_log_level
from monai.deploy.core import Application, RuntimeEnv
from operators import (
    LOGGER_NAME,
    EligibilityOperator,
    EvidenceOperator,
    InferenceOperator,
    ReportWriterOperator,
    ResultWriterOperator,
    StudyAggregationOperator,
    StudyLoaderOperator,
)

from monai_bone_ssl import __version__
from monai_bone_ssl.errors import BoneSSLError, ConfigError, ModelError, ReasonCode
from monai_bone_ssl.faults import WithoutMessage
from monai_bone_ssl.model.folder import CURRENT, default_model_folder
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import make_output_folder, set_aside_earlier_run
from monai_bone_ssl.report.evidence_objects import EvidenceKind
from monai_bone_ssl.show.console import results_summary
from monai_bone_ssl.show.results import EXIT_FAULT, EXIT_USAGE, Results, exit_code

__all__ = ["BoneRadiographApp", "find_model", "main"]

_LOG_LEVELS = {"DEBUG": LogLevel.DEBUG, "INFO": LogLevel.INFO, "WARN": LogLevel.WARN, "ERROR": LogLevel.ERROR}

_ABOUT = """\
Bone radiographs to one coded DICOM SR a study. Research software, not a medical device: every result has to
be verified by a qualified reader.

exit codes:
  0  every image was analysed
  1  a fault: the model cannot be trusted, or the output cannot be written
  2  wrong usage, such as an input that is not there
  3  nothing eligible in the input
  4  some images were not analysed or failed; result.json says why
"""


class BoneRadiographApp(Application):
    """The graph from files to reports.

    Parameters
    ----------
    folder
        Folder with the input, files in any nesting.
    out
        Existing folder for the results.
    model
        Model to run, loaded and checked.
    evidence
        Kinds of evidence objects to make beside each report.
    """

    def __init__(self, folder: Path, out: Path, model: Model, evidence: Sequence[EvidenceKind]) -> None:
        self.folder = folder
        self.out = out
        self.model = model
        self.evidence = evidence
        super().__init__([sys.executable, __file__])  # or the SDK would read this program's own arguments

    def compose(self) -> None:
        """Connect the operators."""
        self.writer = ResultWriterOperator(self, model=self.model, folder=self.out)
        loader = StudyLoaderOperator(self, folder=self.folder, skip=self.out)
        stages = [
            EligibilityOperator(self, model=self.model),
            InferenceOperator(self, model=self.model),
            EvidenceOperator(self, model=self.model, kinds=self.evidence),
            StudyAggregationOperator(self, model=self.model),
            ReportWriterOperator(self, folder=self.out),
            self.writer,
        ]
        self.add_flow(loader, stages[0], {("files", "in")})
        for before, after in pairwise(stages):
            self.add_flow(before, after, {("out", "in")})

    @property
    def results(self) -> Results:
        """Results as in result.json.

        Raises
        ------
        RuntimeError
            Where the graph has stopped before its end.
        """
        if self.writer.results is None:
            raise RuntimeError("the graph stopped before result.json was written")
        return self.writer.results


def find_model(folder: Path) -> Path:
    """Find the model: the model folder or store given, or the only model folder in it, as in a package.

    Raises
    ------
    ModelError
        Where there is no model folder, or more than one.
    """
    if (folder / CURRENT).is_file():
        return folder
    found = [path.parent for path in (*folder.glob("model.json"), *sorted(folder.glob("*/model.json")))]
    if len(found) != 1:
        text = f"{folder}: has {len(found)} model folders, expected one with model.onnx and model.json"
        raise ModelError(ReasonCode.INVALID_MODEL, text)
    return found[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the application and return its exit code (contract C2)."""
    options = _parser(RuntimeEnv()).parse_args(arguments)
    set_log_level(_LOG_LEVELS[options.log_level])
    _start_logging()
    try:
        with WithoutMessage():
            make_output_folder(options.output, [options.input])
            set_aside_earlier_run(options.output)
            model = Model(find_model(options.model), options.device)
            app = BoneRadiographApp(options.input, options.output, model, options.evidence)
            app.run()
    except BoneSSLError as error:
        sys.stderr.write(f"bone-ssl-map: {error}\n")
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAULT
    if not app.results.images:
        sys.stderr.write("bone-ssl-map: no file in the input: expected DICOM files\n")
    # Counts only: a file's name may hold a patient's.
    sys.stdout.write(f"{results_summary(app.results)}\n")
    return exit_code(app.results)


def _start_logging() -> None:
    """Log that a library warns, without the text: pydicom quotes values of a header."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Discreet())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)


class _Discreet(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = record.getMessage() if record.name == LOGGER_NAME else "a message that is not shown"
        return f"{record.levelname.lower()}: {record.name}: {told}"


def _parser(environment: RuntimeEnv) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="app.py", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "-i",
        "--input",
        type=_existing,
        default=environment.input,
        help="folder with DICOM files, any nesting (HOLOSCAN_INPUT_PATH)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=environment.output,
        help="folder for the results (HOLOSCAN_OUTPUT_PATH)",
    )
    parser.add_argument(
        "-m",
        "--model",
        type=Path,
        default=os.environ.get("HOLOSCAN_MODEL_PATH") or default_model_folder(),
        help="model folder, or the folder that holds it (HOLOSCAN_MODEL_PATH; else the model shipped)",
    )
    parser.add_argument(
        "-e",
        "--evidence",
        type=_kinds,
        default=os.environ.get("BONE_SSL_EVIDENCE", ""),
        metavar="KINDS",
        help="evidence objects beside each report: sc, seg or sc,seg (BONE_SSL_EVIDENCE; none by default)",
    )
    parser.add_argument(
        "-d",
        "--device",
        choices=("auto", "cpu", "cuda"),
        default=os.environ.get("BONE_SSL_DEVICE", "auto"),
        help="where the network runs (BONE_SSL_DEVICE; auto by default: a GPU where there is one)",
    )
    parser.add_argument(
        "-l",
        "--log-level",
        type=str.upper,
        choices=list(_LOG_LEVELS),
        default=os.environ.get("BONE_SSL_LOG_LEVEL", "ERROR"),
        help="what the SDK says about its graph (BONE_SSL_LOG_LEVEL; ERROR by default)",
    )
    return parser


def _existing(text: str) -> Path:
    if not os.path.lexists(text):
        raise argparse.ArgumentTypeError(f"{text}: no such file or folder")
    return Path(text)


def _kinds(text: str) -> tuple[EvidenceKind, ...]:
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in tuple(EvidenceKind):
            raise argparse.ArgumentTypeError(f"{kind}: expected any of {', '.join(EvidenceKind)}")
    return tuple(map(EvidenceKind, kinds))


if __name__ == "__main__":
    sys.exit(main())
