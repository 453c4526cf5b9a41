"""``bone-ssl queue``: look at the studies of the DICOM node, and do what it does not do by itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from monai_bone_ssl.cli.verbs import Verbs, existing, extra, new_verb, print_text
from monai_bone_ssl.show.results import EXIT_OK

if TYPE_CHECKING:
    from monai_bone_ssl.service.queue import Queue, QueuedStudy

__all__ = ["add_verb"]

_STATES = ("received", "complete", "analysing", "to_send", "sent", "nothing_eligible", "failed")
_COMMON = """\
The node may run meanwhile. Studies are named by their Study Instance UID; there is no other patient data.

exit codes: 0 done, 1 the ledger cannot be used, 2 the ledger does not know the study, or cannot do that
"""
_LIST = f"""\
List studies, those that changed last first: Study Instance UID, state, reason, time of the change, and the
number of images in the spool.

{_COMMON}
example:
  bone-ssl queue list --config serve.toml --state failed
"""
_SHOW = f"""\
Show what the ledger knows of a study: its state, its images, those that the archive did not hand out, and the
reports that the archive was given.

{_COMMON}"""
_RETRY = f"""\
Analyse studies again, and ask the archive again for images that it did not hand out. A report that says the
same has the same UID.

{_COMMON}"""
_RESEND = f"""\
Send the reports of studies again: to an archive that refused or lost them.

{_COMMON}"""
_FORGET = f"""\
Forget the images of studies. Use this after a patient's name or id was corrected in the archive: forget the
study, then send it again (a node that fetches does so by itself). Its next report is another document, which
names the last one as its predecessor.

{_COMMON}"""


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb and the verbs below it to the command line."""
    summary = "look at the studies of the DICOM node, retry, resend, forget"
    queue = verbs.add_parser("queue", help=summary, description=f"{summary.capitalize()}.")
    below = queue.add_subparsers(required=True, metavar="VERB")
    listing = new_verb(below, "list", "list studies", _LIST, _list)
    listing.add_argument("--state", choices=_STATES, help="state of the studies (default: all)")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="default: %(default)s")
    _add_config(listing)
    show = new_verb(below, "show", "show one study", _SHOW, _show)
    show.add_argument("study", metavar="STUDY", help="Study Instance UID")
    _add_config(show)
    for name, line, page in (
        ("retry", "analyse studies again", _RETRY),
        ("resend", "send reports again", _RESEND),
        ("forget", "forget images, to be sent again", _FORGET),
    ):
        parser = new_verb(below, name, line, page, _change)
        parser.set_defaults(step=name)
        parser.add_argument("studies", nargs="+", metavar="STUDY", help="Study Instance UID")
        _add_config(parser)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", required=True, type=existing, metavar="FILE.toml", help="settings of the node"
    )


@contextmanager
def _opened(config: Path) -> Iterator[Queue]:
    with extra("serve"):
        from monai_bone_ssl.service.database import Database
        from monai_bone_ssl.service.queue import Queue
        from monai_bone_ssl.service.settings import ledger_url, load_settings
        from monai_bone_ssl.service.spool import Spool

    settings = load_settings(config)
    spool = Spool(settings.spool, 0)
    database = Database(ledger_url(settings))
    try:
        yield Queue(database, spool)
    finally:
        database.close()


def _list(arguments: argparse.Namespace) -> int:
    from monai_bone_ssl.service.tables import StudyState

    states = [StudyState(state) for state in _STATES if arguments.state in (None, state)]
    with _opened(arguments.config) as queue:
        for study in queue.studies(states, arguments.limit):
            print_text(_line(study))
    return EXIT_OK


def _line(study: QueuedStudy) -> str:
    parts = (study.study_instance_uid, study.state, study.reason or "-", study.changed_at)
    return "  ".join((*parts, str(len(study.images))))


def _show(arguments: argparse.Namespace) -> int:
    with _opened(arguments.config) as queue:
        study = queue.study(arguments.study)
    print_text(f"{study.study_instance_uid}: {study.state} since {study.changed_at}")
    print_text(f"reason: {study.reason or 'none'}, attempts: {study.attempts}")
    for title, lines in (("image", study.images), ("missing", study.missing), ("report", study.reports)):
        for line in lines:
            print_text(f"{title}: {line}")
    return EXIT_OK


def _change(arguments: argparse.Namespace) -> int:
    with _opened(arguments.config) as queue:
        step = {"retry": queue.retry, "resend": queue.resend, "forget": queue.forget}[arguments.step]
        for study in arguments.studies:
            step(study)
            print_text(f"{study}: {arguments.step}")
    return EXIT_OK
