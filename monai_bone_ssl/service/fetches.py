"""What the ledger knows of the studies of an archive: which of them are fetched, and which failed to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.tables import FetchRow, MissingImageRow, StudyRow

__all__ = ["Fetches"]

_AT_ONCE = 500  # studies in one statement


class Fetches:
    """The studies of the archive. All methods may be called from any thread.

    Parameters
    ----------
    database
        The database that notes them.

    Raises
    ------
    ServiceError
        ``LEDGER_UNAVAILABLE``, from every method.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, found: Mapping[str, int | None]) -> list[str]:
        """Choose the studies to fetch now.

        Parameters
        ----------
        found
            Number of instances in the archive, None where it does not tell, by Study Instance UID.

        Returns
        -------
        Held studies, and those found that have changed since they were fetched; none that waits after a
        failure. Studies that failed before come last.
        """
        attempts: dict[str, int] = {}
        with self._database.transaction() as session:
            now = self._database.now(session)
            held = dict.fromkeys(session.scalars(select(StudyRow.study_instance_uid).where(StudyRow.held)))
            waiting = iter(held | dict(found))
            while chunk := list(islice(waiting, _AT_ONCE)):
                rows = session.scalars(select(FetchRow).where(FetchRow.study_instance_uid.in_(chunk)))
                known = {row.study_instance_uid: row for row in rows}
                for study in chunk:
                    row = known.get(study)
                    if row is None or _is_due(row, found.get(study), now):
                        attempts[study] = 0 if row is None else row.attempts
        return sorted(attempts, key=attempts.__getitem__)

    def note_missing(self, study_instance_uid: str, sop_instance_uid: str, reason: str) -> None:
        """Note an image that cannot be had; it is not asked for again."""
        with self._database.transaction() as session:
            session.merge(
                MissingImageRow(
                    study_instance_uid=study_instance_uid, sop_instance_uid=sop_instance_uid, reason=reason
                )
            )

    def end(self, study_instance_uid: str, instances: int | None) -> None:
        """Note that a study was fetched, or given up, as it is in the archive now.

        Parameters
        ----------
        study_instance_uid
            UID of the study.
        instances
            Number of its instances in the archive; None where the archive does not tell.
        """
        with self._database.transaction() as session:
            row = self._row(session, study_instance_uid)
            row.instances, row.attempts, row.next_attempt = instances, 0, 0.0

    def postpone(self, study_instance_uid: str, pause: Callable[[int], float]) -> int:
        """Note that a study could not be fetched.

        Parameters
        ----------
        study_instance_uid
            UID of the study.
        pause
            Seconds until the next attempt, by the number of failures.

        Returns
        -------
        Number of failures in a row.
        """
        with self._database.transaction() as session:
            row = self._row(session, study_instance_uid)
            row.attempts += 1
            row.next_attempt = row.changed_at + pause(row.attempts)
            return row.attempts

    def are_failing(self) -> bool:
        """Whether a study could not be fetched, and is to be tried again."""
        with self._database.transaction() as session:
            return bool(session.scalar(select(exists().where(FetchRow.attempts > 0))))

    def forget(self, age: float) -> None:
        """Forget the studies that were fetched longer ago than an age in seconds."""
        with self._database.transaction() as session:
            old = FetchRow.changed_at <= self._database.now(session) - age
            session.execute(delete(FetchRow).where(old))

    def _row(self, session: Session, study_instance_uid: str) -> FetchRow:
        row = session.get(FetchRow, study_instance_uid)
        if row is None:  # one replica at a time fetches: no other makes this row
            row = FetchRow(study_instance_uid=study_instance_uid, attempts=0)
            session.add(row)
        row.changed_at = self._database.now(session)
        return row


def _is_due(row: FetchRow, instances: int | None, now: float) -> bool:
    is_changed = row.attempts > 0 or instances is None or row.instances != instances
    return is_changed and row.next_attempt <= now
