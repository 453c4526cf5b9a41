"""The command line: one module a verb; what a verb needs is imported when it runs."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Sequence

from monai_bone_ssl import __version__
from monai_bone_ssl.cli import adapt, analyze, compare, data, evaluate, features, fit, pretrain, queue, serve
from monai_bone_ssl.cli.verbs import print_error
from monai_bone_ssl.errors import BoneSSLError, ConfigError
from monai_bone_ssl.show.results import EXIT_FAULT, EXIT_STOPPED, EXIT_USAGE

__all__ = ["main"]

_ABOUT = """\
Bone radiographs to coded findings: self-supervised Vision Transformer features and linear probes.

  bone-ssl analyze study/ -o results      DICOM in; DICOM SR, pictures and result.json out
  bone-ssl VERB --help                    what a verb reads, writes and prints

Research software, not a medical device: every result has to be verified by a qualified reader.
"""

_VERBS = (adapt, analyze, compare, data, evaluate, features, fit, pretrain, queue, serve)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code (contract C2)."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM stops as Ctrl+C does
    try:
        return run(arguments)
    except BoneSSLError as error:
        print_error(str(error))
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAULT
    except KeyboardInterrupt:
        print_error("stopped")
        return EXIT_STOPPED
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bone-ssl", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"bone-ssl {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for verb in _VERBS:
        verb.add_verb(verbs)
    return parser
