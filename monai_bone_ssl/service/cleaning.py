"""What is removed when its time is over: images, reports, studies, and files that a crash left behind."""

from __future__ import annotations

from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.fetches import Fetches
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.spool import Spool

__all__ = ["clean", "strays"]

_DAY = 86400.0  # seconds


def clean(spool: Spool, ledger: Ledger, fetches: Fetches, keep_days: float, keep_study_days: float) -> None:
    """Remove everything that is old enough.

    Parameters
    ----------
    spool, ledger, fetches
        Parts of the service that are cleaned.
    keep_days
        Days for which images and reports stay after their study ended.
    keep_study_days
        Days for which a study stays in the ledger after it ended.

    Raises
    ------
    ReportError, ServiceError
        Where the disk or the ledger refuses; what is left is removed the next time.
    """
    while forgotten := ledger.forget_images(_DAY * keep_days):
        for study, names in forgotten.items():
            spool.remove(names)
            spool.remove_reports(study)
            log_event("forgotten", study=study, images=len(names))
    while ledger.forget_studies(_DAY * keep_study_days):
        pass
    fetches.forget(_DAY * keep_study_days)
    for name in strays(spool, ledger):
        spool.remove([name])


def strays(spool: Spool, ledger: Ledger) -> list[str]:
    """Names of the files in the spool that a crash left behind: no image in the ledger has them."""
    return list(ledger.unknown_names(spool.settled()))
