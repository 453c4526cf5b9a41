"""What is known of every study, in a database that survives a crash and may be shared by replicas.

Each study is in one state::

    received -> complete -> analysing -> to_send -> sent
                                      -> nothing_eligible
                                      -> failed

and goes back to ``received`` when an image is added. Replicas share the work by row locks (``SELECT ... FOR
UPDATE SKIP LOCKED``) and leases: a study that a replica works on is its own until the lease ends. Whatever a
replica says about a study counts only while it still holds the lease and the study has not grown. Clocks of
replicas have to agree to within a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from monai_bone_ssl.errors import ReasonCode, ServiceError
from monai_bone_ssl.service.tables import (
    ENDED,
    Base,
    DutyRow,
    InstanceRow,
    StudyRow,
    StudyState,
    open_database,
)

__all__ = ["Claim", "Instance", "Ledger"]


# Where a study waits for a step to be tried again.
_BEFORE = {StudyState.ANALYSING: StudyState.COMPLETE, StudyState.TO_SEND: StudyState.TO_SEND}


@dataclass(frozen=True)
class Instance:
    """Identity of a received object: the primary key of its row."""

    study_instance_uid: str
    sop_instance_uid: str
    digest: str
    """Of its data set."""


@dataclass(frozen=True)
class Claim:
    """A study that this replica works on, as it was when it was claimed."""

    study_instance_uid: str
    state: StudyState
    revision: int
    attempts: int
    """How often this step was begun, this time included."""
    since: float
    """When the last image came (seconds since the epoch)."""
    outbox: Sequence[str]
    """Names of the files to send, the report's first."""


def _no_pause(_: int) -> float:
    return 0.0


class Ledger:
    """The database, as one replica uses it. Its methods may be called from any thread.

    Parameters
    ----------
    url
        SQLAlchemy URL of an SQLite or PostgreSQL database; tables are made where missing.
    owner
        Name of this replica.
    lease
        Seconds that a claimed study is kept from other replicas.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the URL is none.
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
        """Note a received image; its study waits for more again.

        Parameters
        ----------
        instance
            What was received.
        name
            Of its file in the spool.
        now
            Seconds since the epoch, here as in all methods.

        Returns
        -------
        False where it is known already; ``name`` is then not noted.
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
        """More of a study is going to be fetched: it is not complete before :meth:`release`."""
        with self._transaction() as session:
            self._locked_study(session, study_instance_uid, now).held = True

    def release(self, study_instance_uid: str, now: float) -> None:
        """All of a study was fetched."""
        held = and_(StudyRow.study_instance_uid == study_instance_uid, StudyRow.held)
        with self._transaction() as session:
            session.execute(update(StudyRow).where(held).values(held=False, last_instance_at=now))

    def held(self) -> Sequence[str]:
        """Studies of which more is to be fetched."""
        with self._transaction() as session:
            return session.scalars(select(StudyRow.study_instance_uid).where(StudyRow.held)).all()

    def known_sop_instances(self, study_instance_uid: str) -> set[str]:
        """SOP Instance UIDs of a study's images that are here."""
        query = select(InstanceRow.sop_instance_uid).where(
            InstanceRow.study_instance_uid == study_instance_uid
        )
        with self._transaction() as session:
            return set(session.scalars(query))

    def _locked_study(self, session: Session, study_instance_uid: str, now: float) -> StudyRow:
        query = select(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid).with_for_update()
        study = session.scalar(query)
        if study is not None:
            return study
        try:
            with session.begin_nested():
                session.add(
                    StudyRow(
                        study_instance_uid=study_instance_uid,
                        state=StudyState.RECEIVED,
                        last_instance_at=now,
                        changed_at=now,
                    )
                )
        except IntegrityError:  # another replica was quicker
            pass
        return session.scalars(query).one()

    # --- studies are worked on ----------------------------------------------------------------------------

    def complete_quiet_studies(self, before: float, now: float) -> int:
        """Move studies on whose last image came before a time. Returns how many."""
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
        self, now: float, *, pause: Callable[[int], float] = _no_pause, untried_only: bool = False
    ) -> Claim | None:
        """Take the study that has waited longest for its analysis; None where there is none.

        Parameters
        ----------
        pause
            After so many attempts, seconds until the next one where this one never comes to an end: a study
            that takes the process down must not do so again and again at once.
        untried_only
            Leave studies whose analysis was begun before.
        """
        due = StudyRow.state == StudyState.COMPLETE
        deserted = and_(StudyRow.state == StudyState.ANALYSING, StudyRow.lease_until <= now)
        waiting = and_(or_(due, deserted), StudyRow.next_attempt <= now)
        if untried_only:
            waiting = and_(waiting, StudyRow.attempts == 0)
        return self._claim(_waiting(waiting), StudyState.ANALYSING, now, pause)

    def claim_delivery(self, now: float) -> Claim | None:
        """Take the study whose report has waited longest; None where there is none."""
        due = and_(
            StudyRow.state == StudyState.TO_SEND, StudyRow.next_attempt <= now, StudyRow.lease_until <= now
        )
        return self._claim(_waiting(due), StudyState.TO_SEND, now, _no_pause)

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
            return Claim(
                study.study_instance_uid,
                state,
                study.revision,
                study.attempts,
                study.last_instance_at,
                study.outbox,
            )

    def image_names(self, claim: Claim) -> Sequence[str]:
        """Files of a study's images in the spool, in a stable order."""
        query = (
            select(InstanceRow.name)
            .where(InstanceRow.study_instance_uid == claim.study_instance_uid)
            .order_by(InstanceRow.sop_instance_uid, InstanceRow.digest)
        )
        with self._transaction() as session:
            return session.scalars(query).all()

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
        False where the study has grown meanwhile or another replica took it: what was done is void.
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
        """Put a claimed study back, to be tried again at a later time."""
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
        """This replica is alive."""
        half_gone = StudyRow.lease_until.between(now, now + self._lease / 2)
        mine = and_(StudyRow.lease_owner == self._owner, half_gone)
        with self._transaction() as session:
            session.execute(update(StudyRow).where(mine).values(lease_until=now + self._lease))

    def desert(self) -> None:
        """Give up all leases of this replica: it has just started, or is about to stop."""
        with self._transaction() as session:
            session.execute(
                update(StudyRow).where(StudyRow.lease_owner == self._owner).values(lease_until=0.0)
            )
            session.execute(update(DutyRow).where(DutyRow.owner == self._owner).values(until=0.0))

    def take_duty(self, name: str, now: float) -> bool:
        """Whether this replica does a task that only one may do at a time."""
        with self._transaction() as session:
            duty = session.scalar(select(DutyRow).where(DutyRow.name == name).with_for_update())
            if duty is None:
                try:
                    with session.begin_nested():
                        session.add(DutyRow(name=name, owner=self._owner, until=now + self._lease))
                except IntegrityError:  # another replica was quicker
                    return False
                return True
            if duty.owner != self._owner and duty.until > now:
                return False
            duty.owner, duty.until = self._owner, now + self._lease
            return True

    # --- afterwards ---------------------------------------------------------------------------------------

    def forget_images(self, before: float) -> dict[str, Sequence[str]]:
        """Forget the images of studies that ended before a time.

        Returns
        -------
        Their files by study: now nobody's, to be removed.
        """
        old = and_(StudyRow.state.in_(ENDED), StudyRow.changed_at <= before)
        has_images = exists().where(InstanceRow.study_instance_uid == StudyRow.study_instance_uid)
        forgotten: dict[str, Sequence[str]] = {}
        with self._transaction() as session:
            query = select(StudyRow).where(old, has_images).limit(100).with_for_update(skip_locked=True)
            for study in session.scalars(query):
                of_study = InstanceRow.study_instance_uid == study.study_instance_uid
                names = session.scalars(select(InstanceRow.name).where(of_study)).all()
                forgotten[study.study_instance_uid] = names
                session.execute(delete(InstanceRow).where(of_study))
        return forgotten

    def unknown_names(self, names: Sequence[str]) -> set[str]:
        """Those of some file names that no image has."""
        with self._transaction() as session:
            known = set(session.scalars(select(InstanceRow.name).where(InstanceRow.name.in_(names))))
        return set(names) - known

    def count_by_state(self) -> dict[StudyState, int]:
        """Number of studies in every state."""
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


def _enter(study: StudyRow, state: StudyState, now: float) -> None:
    """A new state begins with a clean slate."""
    study.state = state
    study.changed_at = now
    study.attempts, study.next_attempt = 0, 0.0
    study.reason, study.outbox = None, []
    study.lease_owner, study.lease_until = None, 0.0


def _waiting(condition: Any) -> Select[StudyRow]:
    oldest_first = select(StudyRow).where(condition).order_by(StudyRow.last_instance_at)
    return oldest_first.limit(1).with_for_update(skip_locked=True)
