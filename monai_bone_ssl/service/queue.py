"""What an operator may do with the studies in the ledger; the service may run meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.ledger import enter
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.tables import FetchRow, InstanceRow, MissingImageRow, StudyRow, StudyState

__all__ = ["Queue", "QueuedStudy"]


@dataclass(frozen=True)
class QueuedStudy:
    """A study as the ledger knows it, without patient data."""

    study_instance_uid: str
    state: str
    reason: str | None
    """Reason code of the last failure, or of the end."""
    changed_at: str
    """Time at which the state was entered, as ISO 8601 in UTC."""
    attempts: int
    images: Sequence[str]
    """SOP Instance UIDs of the images in the spool."""
    missing: Sequence[str]
    """SOP Instance UIDs of the images that the archive does not hand out, with their reasons."""
    reports: Sequence[str]
    """SOP Instance UIDs of the reports that the archive was given, the first one first."""


class Queue:
    """The studies in the ledger, for an operator.

    Parameters
    ----------
    database
        Database of the ledger.
    spool
        Folder of images and reports.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG``, from every method with a study, where the ledger does not know the study or the
        step is not possible.
    ServiceError
        ``LEDGER_UNAVAILABLE``, from every method.
    """

    def __init__(self, database: Database, spool: Spool) -> None:
        self._database = database
        self._spool = spool

    def studies(self, states: Sequence[StudyState], limit: int) -> list[QueuedStudy]:
        """List the studies in some states, those that changed last first."""
        query = select(StudyRow).where(StudyRow.state.in_(states)).order_by(StudyRow.changed_at.desc())
        with self._database.transaction() as session:
            return [_queued(session, study) for study in session.scalars(query.limit(limit))]

    def study(self, study_instance_uid: str) -> QueuedStudy:
        """Look up one study."""
        with self._database.transaction() as session:
            return _queued(session, _found(session, study_instance_uid))

    def retry(self, study_instance_uid: str) -> None:
        """Analyse a study again, and ask the archive again for images that it did not hand out."""
        with self._database.transaction() as session:
            study = _found(session, study_instance_uid)
            fetched = session.get(FetchRow, study_instance_uid)
            if not study.has_images and fetched is None:
                raise _impossible(study_instance_uid, "its images are not in the spool: send them again")
            self._ask_again(session, study_instance_uid)
            if study.has_images and not study.held:
                enter(session, study, StudyState.COMPLETE, self._database.now(session))

    def resend(self, study_instance_uid: str) -> None:
        """Send the report of a study again."""
        with self._database.transaction() as session:
            study = _found(session, study_instance_uid)
            files = study.outbox
            if not files:
                raise _impossible(study_instance_uid, "there is no report to send")
            enter(session, study, StudyState.TO_SEND, self._database.now(session))
            study.outbox = files

    def forget(self, study_instance_uid: str) -> None:
        """Forget the images of a study, so that corrected ones take their place when they are sent.

        The study is ``failed`` with ``forgotten`` until they come. Its next report is another document, with
        the last one as its predecessor.
        """
        with self._database.transaction() as session:
            study = _found(session, study_instance_uid)
            of_this = InstanceRow.study_instance_uid == study_instance_uid
            names = session.scalars(select(InstanceRow.name).where(of_this)).all()
            session.execute(delete(InstanceRow).where(of_this))
            self._ask_again(session, study_instance_uid)
            study.has_images = study.held = False
            study.corrections += 1
            enter(session, study, StudyState.FAILED, self._database.now(session), ReasonCode.FORGOTTEN)
        self._spool.remove(names)
        self._spool.remove_reports(study_instance_uid)

    def _ask_again(self, session: Session, study_instance_uid: str) -> None:
        """Let the node ask the archive for all images of a study that it does not have."""
        for table in (FetchRow, MissingImageRow):
            session.execute(delete(table).where(table.study_instance_uid == study_instance_uid))


def _found(session: Session, study_instance_uid: str) -> StudyRow:
    query = select(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid)
    study = session.scalar(query.with_for_update())
    if study is None:
        raise _impossible(study_instance_uid, "the ledger does not know this study")
    return study


def _impossible(study_instance_uid: str, why: str) -> ConfigError:
    return ConfigError(ReasonCode.INVALID_CONFIG, f"study {study_instance_uid}: {why}")


def _queued(session: Session, study: StudyRow) -> QueuedStudy:
    uid = study.study_instance_uid
    images = session.scalars(
        select(InstanceRow.sop_instance_uid).where(InstanceRow.study_instance_uid == uid)
    )
    missing = session.scalars(select(MissingImageRow).where(MissingImageRow.study_instance_uid == uid))
    return QueuedStudy(
        study_instance_uid=uid,
        state=study.state,
        reason=study.reason,
        changed_at=datetime.fromtimestamp(study.changed_at, UTC).isoformat(timespec="seconds"),
        attempts=study.attempts,
        images=sorted(images),
        missing=sorted(f"{row.sop_instance_uid} {row.reason}" for row in missing),
        reports=[report["sop_instance_uid"] for report in study.reports],
    )
