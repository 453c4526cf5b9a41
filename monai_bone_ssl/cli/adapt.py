"""``bone-ssl adapt``: a site's own verdicts to a better probe, or back to the one before."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_bone_ssl.cli.verbs import Verbs, existing, extra, new_verb, print_text
from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.show.results import EXIT_OK

__all__ = ["add_verb"]

_DESCRIPTION = """\
Fit the model's probe to verdicts of a site's readers, and use the new probe if it is better.

REVIEW is a folder with verdicts, RESULTS the output folder of bone-ssl analyze that was read. The labels are
the readings on which all readers agree, or that were adjudicated. Images read as uncertain or bad are left
out. At least 20 normal and 20 abnormal images are needed. The network stays as it is, so this takes seconds
to minutes on a processor.

The old and the new model are compared on verdicts of patients that the new probe has not seen. The new model
is offered only if its log loss is lower beyond chance, its AUROC is at most 0.01 lower, and the whole
interval of its AUROC lies above 0.6.

STORE keeps all versions and says which one is in use; any verb takes it as --model. Without --adopt the model
in use stays. STORE/candidates gets the figures (adaptation_VERSION.json) and, if it is better, the new model.

examples:
  bone-ssl adapt review/ --results results/ -o store/                            look at the figures
  bone-ssl adapt review/ --results results/ -o store/ --adopt --by "Doe^Jane"    use it, if it is better
  bone-ssl analyze study/ -o results2 --model store/
  bone-ssl adapt --rollback store/ --by "Doe^Jane"                               use the version before again

exit codes:
  0  the new model was adopted, or is better and --adopt was not given; or the store was rolled back
  1  a fault: the model cannot be trusted, or STORE cannot be written
  2  wrong usage, or too few verdicts
  5  the new model is not better: the model in use stays
"""

_EXIT_REFUSED = 5


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = new_verb(verbs, "adapt", "verdicts of a site to a better probe", _DESCRIPTION, _run)
    parser.add_argument("review", nargs="?", type=existing, metavar="REVIEW", help="folder with verdicts")
    parser.add_argument("--results", type=existing, help="output folder of bone-ssl analyze that was read")
    parser.add_argument("-o", "--out", type=Path, metavar="STORE", help="folder for the model's versions")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="model that a new STORE begins with (default: the model that comes with the package)",
    )
    parser.add_argument("--adopt", action="store_true", help="use the new model if it is better")
    parser.add_argument("--by", metavar="NAME", help="who decides, for STORE's history")
    parser.add_argument(
        "--rollback", type=existing, metavar="STORE", help="use the version before the current one"
    )


def _run(arguments: argparse.Namespace) -> int:
    if (arguments.adopt or arguments.rollback) and not arguments.by:
        raise ConfigError(ReasonCode.INVALID_CONFIG, "--adopt and --rollback: expected --by with a name")
    if arguments.rollback:
        return _roll_back(arguments.rollback, arguments.by)
    if not (arguments.review and arguments.results and arguments.out):
        raise ConfigError(ReasonCode.INVALID_CONFIG, "expected REVIEW, --results and -o, or --rollback")
    return _adapt(arguments)


def _roll_back(store: Path, by: str) -> int:
    from monai_bone_ssl.review.adaptation.model_versions import rollback

    print_text(f"version {rollback(store, by)} is in use")
    return EXIT_OK


def _adapt(arguments: argparse.Namespace) -> int:
    with extra("adapt"):
        from monai_bone_ssl.review.adaptation.adapt import adapt, report_table
        from monai_bone_ssl.review.adaptation.site_cases import labelled_cases
    from monai_bone_ssl.model.folder import default_model_folder, read_spec
    from monai_bone_ssl.review.adaptation.model_versions import adopt, is_store
    from monai_bone_ssl.review.worklist import worklist_from_results

    store = arguments.out
    model = store if is_store(store) else arguments.model or default_model_folder()
    worklist = worklist_from_results(arguments.results, read_spec(model))
    report = adapt(model, labelled_cases(arguments.review, worklist), store / "candidates")
    print_text(report_table(report))
    if report.candidate is None:
        return _EXIT_REFUSED
    if arguments.adopt:
        print_text(f"version {adopt(store, report.candidate, model, arguments.by)} is in use")
    return EXIT_OK
