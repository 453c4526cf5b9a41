"""The state of every study, in a database that survives a crash and that replicas may share.

The states and the ways between them are drawn in ``docs/how-to/run-the-node.md``. Replicas share the work by
row locks (``SELECT ... FOR UPDATE SKIP LOCKED``) and leases: a study that one works on is kept from the
others until the lease ends. A result counts only while its replica still holds the lease and the study has
not grown. All times are the database's: the clocks of replicas do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice

from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from monai_bone_ssl.report.study import EarlierReport, History
from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.tables import (
    ENDED,
    Base,
    Claim,
    DutyRow,
    Instance,
    InstanceRow,
    MissingImageRow,
    StudyRow,
    StudyState,
    TallyRow,
)

__all__ = ["Ledger", "enter"]

# Names or studies in one statement: PostgreSQL's protocol counts the values of a statement in 16 bits.
_AT_ONCE = 500


class Ledger:
    """The studies, as one replica works on them. All methods may be called from any thread.

    Parameters
    ----------
    database
        The database that holds them.
    owner
        Name of this replica.
    lease
        Seconds for which a claimed study is kept from other replicas.

    Raises
    ------
    ServiceError
        ``LEDGER_UNAVAILABLE``, from every method.
    """

    def __init__(self, database: Database, owner: str, lease: float) -> None:
        self._database = database
        self._owner = owner
        self._lease = lease

    # --- images come in -----------------------------------------------------------------------------------

    def add_instance(self, instance: Instance, name: str) -> bool:
        """Note a received image; its study waits for more images again.

        Parameters
        ----------
        instance
            Identity of the image.
        name
            Name of the image's file in the spool.

        Returns
        -------
        False where the image is known already; ``name`` is then not noted.
        """
        with self._database.transaction() as session:
            study = self._locked_study(session, instance.study_instance_uid)
            now = self._database.now(session)
            if study.state == StudyState.RECEIVED:
                study.last_instance_at = now
            identity = asdict(instance)
            if session.get(InstanceRow, identity) is not None:
                return False
            session.add(InstanceRow(**identity, name=name))
            missing = session.get(MissingImageRow, (instance.study_instance_uid, instance.sop_instance_uid))
            if missing is not None:
                session.delete(missing)
            study.revision += 1
            study.has_images = True
            study.last_instance_at = now
            enter(session, study, StudyState.RECEIVED, now)
            return True

    def hold(self, study_instance_uid: str) -> None:
        """Hold a study whose images are being fetched: it is not complete before :meth:`release`."""
        with self._database.transaction() as session:
            self._locked_study(session, study_instance_uid).held = True

    def release(self, study_instance_uid: str) -> None:
        """Release a study whose images were all fetched, or could not be."""
        held = and_(StudyRow.study_instance_uid == study_instance_uid, StudyRow.held)
        with self._database.transaction() as session:
            study = session.scalar(select(StudyRow).where(held).with_for_update())
            if study is None:
                return
            now = self._database.now(session)
            study.held, study.last_instance_at = False, now
            if not study.has_images:
                missing = MissingImageRow.study_instance_uid == study_instance_uid
                reason = session.scalars(select(MissingImageRow.reason).where(missing)).first()
                enter(session, study, StudyState.FAILED, now, reason)

    def give_up(self, study_instance_uid: str, reason: str) -> None:
        """Fail a held study whose images nobody can name any more."""
        with self._database.transaction() as session:
            study = self._locked_study(session, study_instance_uid)
            study.held = False
            enter(session, study, StudyState.FAILED, self._database.now(session), reason)

    def names_of_other_bytes(self, instance: Instance) -> Sequence[str]:
        """Names of the files in the spool that hold an instance as other bytes."""
        query = select(InstanceRow.name).where(
            _is_of(instance.study_instance_uid),
            InstanceRow.sop_instance_uid == instance.sop_instance_uid,
            InstanceRow.digest != instance.digest,
        )
        with self._database.transaction() as session:
            return session.scalars(query).all()

    def known_sop_instances(self, study_instance_uid: str) -> set[str]:
        """SOP Instance UIDs of those images of a study that were received."""
        query = select(InstanceRow.sop_instance_uid).where(_is_of(study_instance_uid))
        with self._database.transaction() as session:
            return set(session.scalars(query))

    def missing_images(self, study_instance_uid: str) -> dict[str, str]:
        """Reasons for which images of a study cannot be had from the archive, by SOP Instance UID."""
        query = select(MissingImageRow).where(MissingImageRow.study_instance_uid == study_instance_uid)
        with self._database.transaction() as session:
            rows = session.scalars(query.order_by(MissingImageRow.sop_instance_uid))
            return {row.sop_instance_uid: row.reason for row in rows}

    def _locked_study(self, session: Session, study_instance_uid: str) -> StudyRow:
        query = select(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid).with_for_update()
        study = session.scalar(query)
        if study is not None:
            return study
        now = self._database.now(session)
        row = StudyRow(
            study_instance_uid=study_instance_uid,
            state=StudyState.RECEIVED,
            last_instance_at=now,
            changed_at=now,
        )
        _insert(session, row)
        return session.scalars(query).one()

    # --- studies are worked on ----------------------------------------------------------------------------

    def complete_quiet_studies(self, quiet: float) -> int:
        """Complete studies without a new image for some seconds; returns the number of these studies."""
        with self._database.transaction() as session:
            now = self._database.now(session)
            is_quiet = and_(
                StudyRow.state == StudyState.RECEIVED,
                StudyRow.last_instance_at <= now - quiet,
                ~StudyRow.held,  # so the study has images
            )
            # The study that got its last image first is analysed first.
            values = {
                "state": StudyState.COMPLETE,
                "changed_at": now,
                "next_attempt": StudyRow.last_instance_at,
            }
            return session.connection().execute(update(StudyRow).where(is_quiet).values(values)).rowcount

    def claim_analysis(
        self, *, pause: Callable[[int], float] = lambda _: 0.0, untried_only: bool = False
    ) -> Claim | None:
        """Take the study that has waited longest for its analysis; None where no study waits.

        Parameters
        ----------
        pause
            Seconds until the next attempt if this one never comes to an end, by the number of attempts: a
            study that takes the process down must not do so again and again at once.
        untried_only
            Whether to leave studies whose analysis was begun before.
        """
        with self._database.transaction() as session:
            now = self._database.now(session)
            due = [_first_due(session, StudyState.COMPLETE, now, untried_only)]
            if not untried_only:  # one that a silent replica had begun
                due.append(_first_due(session, StudyState.ANALYSING, now, False))
            studies = sorted((study for study in due if study is not None), key=lambda s: s.next_attempt)
            return self._claim(studies[0], StudyState.ANALYSING, now, pause) if studies else None

    def claim_delivery(self) -> Claim | None:
        """Take the study whose report has waited longest; None where no report waits."""
        with self._database.transaction() as session:
            now = self._database.now(session)
            study = _first_due(session, StudyState.TO_SEND, now, False)
            return None if study is None else self._claim(study, StudyState.TO_SEND, now, lambda _: 0.0)

    def _claim(self, study: StudyRow, state: StudyState, now: float, pause: Callable[[int], float]) -> Claim:
        study.state = state
        study.attempts += 1
        study.next_attempt = now + pause(study.attempts)
        study.lease_owner = self._owner
        study.lease_until = now + self._lease
        age = now - study.last_instance_at
        return Claim(study.study_instance_uid, state, study.revision, study.attempts, age, study.outbox)

    def image_names(self, claim: Claim) -> Sequence[str]:
        """Names of a study's files in the spool, in a stable order."""
        query = select(InstanceRow.name).where(_is_of(claim.study_instance_uid))
        with self._database.transaction() as session:
            return session.scalars(query.order_by(InstanceRow.sop_instance_uid, InstanceRow.digest)).all()

    def history(self, claim: Claim) -> History:
        """Reports on a study that the archive was given before."""
        query = select(StudyRow).where(StudyRow.study_instance_uid == claim.study_instance_uid)
        with self._database.transaction() as session:
            study = session.scalars(query).one()
            return History([EarlierReport(**report) for report in study.reports], study.corrections)

    def note_report(self, claim: Claim, report: EarlierReport) -> None:
        """Note a report that the archive was given, even if its study has grown meanwhile."""
        query = select(StudyRow).where(StudyRow.study_instance_uid == claim.study_instance_uid)
        with self._database.transaction() as session:
            study = session.scalars(query.with_for_update()).one()
            if report.sop_instance_uid not in {before["sop_instance_uid"] for before in study.reports}:
                study.reports = [*study.reports, asdict(report)]

    def finish(
        self,
        claim: Claim,
        state: StudyState,
        *,
        reason: str | None = None,
        outbox: Mapping[str, str] | None = None,
    ) -> bool:
        """Move a claimed study on to its next state.

        Parameters
        ----------
        claim
            The study, as it was claimed.
        state
            State to move to.
        reason
            Reason code of an end without a report.
        outbox
            SHA-256, in hexadecimal, of each file to send or sent, by the file's name, the report's first.

        Returns
        -------
        False where the study has grown meanwhile or another replica took it: the work is void then.
        """
        with self._database.transaction() as session:
            study = self._still_mine(session, claim)
            if study is None:
                return False
            enter(session, study, state, self._database.now(session), reason)
            study.outbox = dict(outbox or {})
            return True

    def retry(self, claim: Claim, state: StudyState, pause: float, reason: str) -> None:
        """Put a claimed study back into a state, from which it may be claimed after a pause in seconds."""
        with self._database.transaction() as session:
            study = self._still_mine(session, claim)
            if study is not None:
                study.state = state
                study.next_attempt = self._database.now(session) + pause
                study.reason = reason
                study.lease_owner, study.lease_until = None, 0.0

    def _still_mine(self, session: Session, claim: Claim) -> StudyRow | None:
        query = select(StudyRow).where(
            StudyRow.study_instance_uid == claim.study_instance_uid,
            StudyRow.state == claim.state,
            StudyRow.revision == claim.revision,
            StudyRow.attempts == claim.attempts,
            StudyRow.lease_owner == self._owner,
        )
        return session.scalar(query.with_for_update())

    def renew_leases(self) -> None:
        """Prolong the leases of this replica, which is alive."""
        with self._database.transaction() as session:
            now = self._database.now(session)
            half_gone = StudyRow.lease_until.between(now, now + self._lease / 2)
            mine = and_(StudyRow.lease_owner == self._owner, half_gone)
            session.execute(update(StudyRow).where(mine).values(lease_until=now + self._lease))

    def desert(self) -> None:
        """Give up all leases of this replica, which has just started or is about to stop."""
        with self._database.transaction() as session:
            session.execute(
                update(StudyRow).where(StudyRow.lease_owner == self._owner).values(lease_until=0.0)
            )
            session.execute(update(DutyRow).where(DutyRow.owner == self._owner).values(until=0.0))

    def take_duty(self, name: str) -> bool:
        """Try to take a task that one replica at a time does; False where another replica has it."""
        with self._database.transaction() as session:
            duty = session.scalar(select(DutyRow).where(DutyRow.name == name).with_for_update())
            now = self._database.now(session)
            if duty is None:
                return _insert(session, DutyRow(name=name, owner=self._owner, until=now + self._lease))
            if duty.owner != self._owner and now < duty.until <= now + self._lease:
                return False
            duty.owner, duty.until = self._owner, now + self._lease
            return True

    def forgive_clock(self, longest_pause: float) -> None:
        """Shorten waits that lie further ahead than they can: the clock was set back meanwhile.

        Parameters
        ----------
        longest_pause
            Longest pause between two attempts, in seconds.
        """
        with self._database.transaction() as session:
            now = self._database.now(session)
            received = and_(StudyRow.state == StudyState.RECEIVED, StudyRow.last_instance_at > now)
            session.execute(update(StudyRow).where(received).values(last_instance_at=now))
            waiting = StudyRow.state.in_([StudyState.COMPLETE, StudyState.ANALYSING, StudyState.TO_SEND])
            late = and_(waiting, StudyRow.next_attempt > now + longest_pause)
            session.execute(update(StudyRow).where(late).values(next_attempt=now))
            leased = and_(waiting, StudyRow.lease_until > now + self._lease)
            session.execute(update(StudyRow).where(leased).values(lease_until=now + self._lease))

    # --- afterwards ---------------------------------------------------------------------------------------

    def forget_images(self, age: float) -> dict[str, list[str]]:
        """Forget the images of some of the studies that ended longer ago than an age in seconds.

        Returns
        -------
        Names of their files in the spool, by study, to be removed; empty where nothing is left to forget.
        """
        with self._database.transaction() as session:
            studies = self._old_studies(session, age, has_images=True)
            forgotten: dict[str, list[str]] = {study.study_instance_uid: [] for study in studies}
            of_these = InstanceRow.study_instance_uid.in_(forgotten)
            for image in session.scalars(select(InstanceRow).where(of_these)):
                forgotten[image.study_instance_uid].append(image.name)
            session.execute(delete(InstanceRow).where(of_these))
            for study in studies:
                study.has_images, study.outbox = False, {}
        return forgotten

    def forget_studies(self, age: float) -> int:
        """Forget some of the studies without images that ended longer ago than an age in seconds.

        Returns
        -------
        Number of studies that were forgotten; 0 where nothing is left to forget.
        """
        with self._database.transaction() as session:
            studies = self._old_studies(session, age, has_images=False)
            uids = [study.study_instance_uid for study in studies]
            for state in sorted(ENDED):
                _add_to_tally(session, state, -sum(study.state == state for study in studies))
            for table in (MissingImageRow, StudyRow):
                session.execute(delete(table).where(table.study_instance_uid.in_(uids)))
        return len(uids)

    def _old_studies(self, session: Session, age: float, *, has_images: bool) -> Sequence[StudyRow]:
        old = and_(
            StudyRow.has_images.is_(has_images),
            StudyRow.changed_at <= self._database.now(session) - age,
            StudyRow.state.in_(ENDED),
            ~StudyRow.held,
        )
        query = select(StudyRow).where(old).order_by(StudyRow.changed_at).limit(_AT_ONCE)
        return session.scalars(query.with_for_update(skip_locked=True)).all()

    def unknown_names(self, names: Iterable[str]) -> Iterator[str]:
        """Find those of some file names that no image in the ledger has."""
        waiting = iter(names)
        while chunk := set(islice(waiting, _AT_ONCE)):
            with self._database.transaction() as session:
                known = set(session.scalars(select(InstanceRow.name).where(InstanceRow.name.in_(chunk))))
            yield from chunk - known

    def count_by_state(self) -> dict[StudyState, int]:
        """Count the studies in every state."""
        live = StudyRow.state.in_([state for state in StudyState if state not in ENDED])
        with self._database.transaction() as session:
            rows = session.execute(select(StudyRow.state, func.count()).where(live).group_by(StudyRow.state))
            counts = {StudyState(state): count for state, count in rows}
            counts |= {StudyState(row.state): row.studies for row in session.scalars(select(TallyRow))}
        return dict.fromkeys(StudyState, 0) | counts

    def count_missing_images(self) -> int:
        """Count the images that the archive lists but that could not be had."""
        with self._database.transaction() as session:
            return session.scalars(select(func.count()).select_from(MissingImageRow)).one()


def _is_of(study_instance_uid: str) -> ColumnElement[bool]:
    """Condition that an image belongs to a study."""
    return InstanceRow.study_instance_uid == study_instance_uid


def _insert(session: Session, row: Base) -> bool:
    """Insert a row; False where another replica was quicker."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True


def enter(
    session: Session, study: StudyRow, state: StudyState, now: float, reason: str | None = None
) -> None:
    """Move a study to a state, with no attempt, outbox or lease from the state before."""
    if study.state != state:
        for ended in sorted({study.state, state} & set(ENDED)):  # in one order, or two could block each other
            _add_to_tally(session, ended, 1 if ended == state else -1)
    study.state = state
    study.changed_at = now
    study.attempts, study.next_attempt = 0, now
    study.reason, study.outbox = reason, {}
    study.lease_owner, study.lease_until = None, 0.0


def _add_to_tally(session: Session, state: str, number: int) -> None:
    if number:
        row = update(TallyRow).where(TallyRow.state == state)
        session.execute(row.values(studies=TallyRow.studies + number))


def _first_due(session: Session, state: StudyState, now: float, untried_only: bool) -> StudyRow | None:
    """Lock the study in a state that was due first and that no other replica works on."""
    due = and_(StudyRow.state == state, StudyRow.next_attempt <= now, StudyRow.lease_until <= now)
    if untried_only:
        due = and_(due, StudyRow.attempts == 0)
    query = select(StudyRow).where(due).order_by(StudyRow.next_attempt).limit(1)
    return session.scalar(query.with_for_update(skip_locked=True))
