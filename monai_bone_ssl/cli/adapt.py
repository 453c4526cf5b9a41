"""``bone-ssl adapt``: a site's own verdicts to a better probe, or back to the one before."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_bone_ssl.cli.verbs import Verbs, existing, extra, new_verb, print_text
from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.show.results import EXIT_OK

__all__ = ["add_verb"]

_DESCRIPTION = """\
Fit the model's probe to verdicts of a site's readers, and use it if it is better.

REVIEW is the folder of a review, RESULTS the analyze output folder that was read. Labels are the readings on
which all readers agree, or that were adjudicated; uncertain and unreadable images are left out, and at least
20 normal and 20 abnormal ones are needed. The network stays as it is: this takes seconds to minutes on a
processor.

Old and new are compared on verdicts of patients that the new probe has not seen. It is offered only where
its log loss is better beyond chance, its AUROC is not lower by more than 0.01, and the whole interval of its
AUROC is above 0.6.

STORE keeps all versions and says which one is in use; give it as --model to any verb. Without --adopt the
model in use stays: STORE/candidates gets the figures (adaptation_VERSION.json) and, where it is better, the
new model.

examples:
  bone-ssl adapt review/ --results results/ -o store/                            look at the figures
  bone-ssl adapt review/ --results results/ -o store/ --adopt --by "Doe^Jane"    use it, if it is better
  bone-ssl analyze study/ -o results2 --model store/
  bone-ssl adapt --rollback store/ --by "Doe^Jane"                               use the one before again

exit codes:
  0  adopted, rolled back, or better and not asked to adopt
  1  a fault: the model cannot be trusted, or STORE cannot be written
  2  wrong usage, or too few verdicts
  5  not better: the model in use stays
"""

_EXIT_REFUSED = 5


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    parser = new_verb(verbs, "adapt", "verdicts of a site to a better probe", _DESCRIPTION, _run)
    parser.add_argument("review", nargs="?", type=existing, metavar="REVIEW", help="folder of a review")
    parser.add_argument("--results", type=existing, help="analyze output folder that was read")
    parser.add_argument("-o", "--out", type=Path, metavar="STORE", help="folder for the model's versions")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="model that a new STORE begins with (default: the one shipped)",
    )
    parser.add_argument("--adopt", action="store_true", help="use the new model if it is better")
    parser.add_argument("--by", metavar="NAME", help="who decides; kept in STORE's history")
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
    from monai_bone_ssl.review.adaptation.model_versions import adopt, import_model, is_store
    from monai_bone_ssl.review.worklist import worklist_from_results

    store = arguments.out
    model = store if is_store(store) else arguments.model or default_model_folder()
    worklist = worklist_from_results(arguments.results, read_spec(model))
    report = adapt(model, labelled_cases(arguments.review, worklist), store / "candidates")
    print_text(report_table(report))
    if report.candidate is None:
        return _EXIT_REFUSED
    if arguments.adopt:
        import_model(store, model, arguments.by)
        print_text(f"version {adopt(store, report.candidate, arguments.by)} is in use")
    return EXIT_OK
