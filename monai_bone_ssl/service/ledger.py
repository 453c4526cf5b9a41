"""The state of every study, in a database that survives a crash and that replicas may share.

Each study is in one state::

    received -> complete -> analysing -> to_send -> sent
                                      -> nothing_eligible
                                      -> failed

and goes back to ``received`` when an image is added. Replicas share the work by row locks (``SELECT ... FOR
UPDATE SKIP LOCKED``) and leases: a study that one works on is kept from the others until the lease ends. A
result counts only while its replica still holds the lease and the study has not grown. Clocks of replicas
have to agree to within a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from monai_bone_ssl.errors import ReasonCode, ServiceError
from monai_bone_ssl.service.tables import (
    ENDED,
    Base,
    Claim,
    DutyRow,
    Instance,
    InstanceRow,
    StudyRow,
    StudyState,
    open_database,
)

__all__ = ["Ledger"]

# State in which a study waits for a step to be tried again.
_BEFORE = {StudyState.ANALYSING: StudyState.COMPLETE, StudyState.TO_SEND: StudyState.TO_SEND}


class Ledger:
    """The database, as one replica uses it. All methods may be called from any thread.

    Times are in seconds since the epoch.

    Parameters
    ----------
    url
        SQLAlchemy URL of an SQLite or PostgreSQL database; tables are made where missing.
    owner
        Name of this replica.
    lease
        Seconds for which a claimed study is kept from other replicas.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the URL is not of such a database.
    ServiceError
        ``LEDGER_UNAVAILABLE``, from here and from every method.
    """

    def __init__(self, url: str, owner: str, lease: float) -> None:
        self._owner = owner
        self._lease = lease
        self._engine = open_database(url)
        with self._transaction() as session:
            Base.metadata.create_all(session.connection())

    def close(self) -> None:
        """Close connections."""
        self._engine.dispose()

    # --- images come in -----------------------------------------------------------------------------------

    def add_instance(self, instance: Instance, name: str, now: float) -> bool:
        """Note a received image; its study waits for more images again.

        Parameters
        ----------
        instance
            The image.
        name
            Name of the image's file in the spool.
        now
            Time at which the image was received.

        Returns
        -------
        False where the image is known already; ``name`` is then not noted.
        """
        with self._transaction() as session:
            study = self._locked_study(session, instance.study_instance_uid, now)
            if study.state == StudyState.RECEIVED:
                study.last_instance_at = now
            identity = asdict(instance)
            if session.get(InstanceRow, identity) is not None:
                return False
            session.add(InstanceRow(**identity, name=name))
            study.revision += 1
            study.last_instance_at = now
            _enter(study, StudyState.RECEIVED, now)
            return True

    def hold(self, study_instance_uid: str, now: float) -> None:
        """Hold a study whose images are being fetched: it is not complete before :meth:`release`."""
        with self._transaction() as session:
            self._locked_study(session, study_instance_uid, now).held = True

    def release(self, study_instance_uid: str, now: float) -> None:
        """Release a study whose images were all fetched."""
        held = and_(StudyRow.study_instance_uid == study_instance_uid, StudyRow.held)
        with self._transaction() as session:
            session.execute(update(StudyRow).where(held).values(held=False, last_instance_at=now))

    def held(self) -> Sequence[str]:
        """List the studies that are held."""
        with self._transaction() as session:
            return session.scalars(select(StudyRow.study_instance_uid).where(StudyRow.held)).all()

    def known_sop_instances(self, study_instance_uid: str) -> set[str]:
        """SOP Instance UIDs of those images of a study that were received."""
        query = select(InstanceRow.sop_instance_uid).where(_is_of(study_instance_uid))
        with self._transaction() as session:
            return set(session.scalars(query))

    def _locked_study(self, session: Session, study_instance_uid: str, now: float) -> StudyRow:
        query = select(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid).with_for_update()
        study = session.scalar(query)
        if study is not None:
            return study
        row = StudyRow(
            study_instance_uid=study_instance_uid,
            state=StudyState.RECEIVED,
            last_instance_at=now,
            changed_at=now,
        )
        _insert(session, row)
        return session.scalars(query).one()

    # --- studies are worked on ----------------------------------------------------------------------------

    def complete_quiet_studies(self, before: float, now: float) -> int:
        """Complete studies whose last image came before a time; returns the number of these studies."""
        quiet = and_(
            StudyRow.state == StudyState.RECEIVED,
            StudyRow.last_instance_at <= before,
            StudyRow.revision > 0,
            ~StudyRow.held,
        )
        with self._transaction() as session:
            moved = update(StudyRow).where(quiet).values(state=StudyState.COMPLETE, changed_at=now)
            return session.connection().execute(moved).rowcount

    def claim_analysis(
        self, now: float, *, pause: Callable[[int], float] = lambda _: 0.0, untried_only: bool = False
    ) -> Claim | None:
        """Take the study that has waited longest for its analysis; None where no study waits.

        Parameters
        ----------
        now
            Present time.
        pause
            Seconds until the next attempt if this one never comes to an end, by the number of attempts: a
            study that takes the process down must not do so again and again at once.
        untried_only
            Whether to leave studies whose analysis was begun before.
        """
        due = StudyRow.state == StudyState.COMPLETE
        deserted = and_(StudyRow.state == StudyState.ANALYSING, StudyRow.lease_until <= now)
        waiting = and_(or_(due, deserted), StudyRow.next_attempt <= now)
        if untried_only:
            waiting = and_(waiting, StudyRow.attempts == 0)
        return self._claim(_waiting(waiting), StudyState.ANALYSING, now, pause)

    def claim_delivery(self, now: float) -> Claim | None:
        """Take the study whose report has waited longest; None where no report waits."""
        due = and_(
            StudyRow.state == StudyState.TO_SEND, StudyRow.next_attempt <= now, StudyRow.lease_until <= now
        )
        return self._claim(_waiting(due), StudyState.TO_SEND, now, lambda _: 0.0)

    def _claim(
        self, query: Select[StudyRow], state: StudyState, now: float, pause: Callable[[int], float]
    ) -> Claim | None:
        with self._transaction() as session:
            study = session.scalar(query)
            if study is None:
                return None
            study.state = state
            study.attempts += 1
            study.next_attempt = now + pause(study.attempts)
            study.lease_owner = self._owner
            study.lease_until = now + self._lease
            uid = study.study_instance_uid
            return Claim(uid, state, study.revision, study.attempts, study.last_instance_at, study.outbox)

    def image_names(self, claim: Claim) -> Sequence[str]:
        """Names of a study's files in the spool, in a stable order."""
        query = select(InstanceRow.name).where(_is_of(claim.study_instance_uid))
        with self._transaction() as session:
            return session.scalars(query.order_by(InstanceRow.sop_instance_uid, InstanceRow.digest)).all()

    def finish(
        self,
        claim: Claim,
        state: StudyState,
        now: float,
        *,
        reason: str | None = None,
        outbox: Sequence[str] = (),
    ) -> bool:
        """Move a claimed study on to its next state.

        Returns
        -------
        False where the study has grown meanwhile or another replica took it: the work is void then.
        """
        with self._transaction() as session:
            study = self._still_mine(session, claim)
            if study is None:
                return False
            _enter(study, state, now)
            study.reason = reason
            study.outbox = list(outbox)
            return True

    def retry(self, claim: Claim, at: float, reason: str) -> None:
        """Put a claimed study back, to be tried again at a time."""
        with self._transaction() as session:
            study = self._still_mine(session, claim)
            if study is not None:
                study.state = _BEFORE[claim.state]
                study.next_attempt = at
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

    def renew_leases(self, now: float) -> None:
        """Prolong the leases of this replica, which is alive."""
        half_gone = StudyRow.lease_until.between(now, now + self._lease / 2)
        mine = and_(StudyRow.lease_owner == self._owner, half_gone)
        with self._transaction() as session:
            session.execute(update(StudyRow).where(mine).values(lease_until=now + self._lease))

    def desert(self) -> None:
        """Give up all leases of this replica, which has just started or is about to stop."""
        with self._transaction() as session:
            session.execute(
                update(StudyRow).where(StudyRow.lease_owner == self._owner).values(lease_until=0.0)
            )
            session.execute(update(DutyRow).where(DutyRow.owner == self._owner).values(until=0.0))

    def take_duty(self, name: str, now: float) -> bool:
        """Try to take a task that one replica at a time does; False where another replica has it."""
        with self._transaction() as session:
            duty = session.scalar(select(DutyRow).where(DutyRow.name == name).with_for_update())
            if duty is None:
                return _insert(session, DutyRow(name=name, owner=self._owner, until=now + self._lease))
            if duty.owner != self._owner and duty.until > now:
                return False
            duty.owner, duty.until = self._owner, now + self._lease
            return True

    # --- afterwards ---------------------------------------------------------------------------------------

    def forget_images(self, before: float) -> dict[str, Sequence[str]]:
        """Forget the images of studies that ended before a time.

        Returns
        -------
        Names of their files in the spool, by study, to be removed.
        """
        old = and_(StudyRow.state.in_(ENDED), StudyRow.changed_at <= before)
        has_images = exists().where(InstanceRow.study_instance_uid == StudyRow.study_instance_uid)
        forgotten: dict[str, Sequence[str]] = {}
        with self._transaction() as session:
            query = select(StudyRow).where(old, has_images).limit(100).with_for_update(skip_locked=True)
            for study in session.scalars(query):
                uid = study.study_instance_uid
                forgotten[uid] = session.scalars(select(InstanceRow.name).where(_is_of(uid))).all()
                session.execute(delete(InstanceRow).where(_is_of(uid)))
        return forgotten

    def unknown_names(self, names: Sequence[str]) -> set[str]:
        """Find those of some file names that no image in the ledger has."""
        with self._transaction() as session:
            known = set(session.scalars(select(InstanceRow.name).where(InstanceRow.name.in_(names))))
        return set(names) - known

    def count_by_state(self) -> dict[StudyState, int]:
        """Count the studies in every state."""
        with self._transaction() as session:
            rows = session.execute(select(StudyRow.state, func.count()).group_by(StudyRow.state)).all()
        return dict.fromkeys(StudyState, 0) | {StudyState(state): count for state, count in rows}

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            text = f"the ledger cannot be used ({type(error).__name__})"
            raise ServiceError(ReasonCode.LEDGER_UNAVAILABLE, text) from error


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


def _enter(study: StudyRow, state: StudyState, now: float) -> None:
    """Move a study to a state, with no attempt, reason, outbox or lease from the state before."""
    study.state = state
    study.changed_at = now
    study.attempts, study.next_attempt = 0, 0.0
    study.reason, study.outbox = None, []
    study.lease_owner, study.lease_until = None, 0.0


def _waiting(condition: ColumnElement[bool]) -> Select[StudyRow]:
    oldest_first = select(StudyRow).where(condition).order_by(StudyRow.last_instance_at)
    return oldest_first.limit(1).with_for_update(skip_locked=True)
