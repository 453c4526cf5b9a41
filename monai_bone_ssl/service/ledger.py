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

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ForeignKey,
    Select,
    String,
    and_,
    create_engine,
    delete,
    event,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from monai_bone_ssl.errors import ConfigError, ReasonCode, ServiceError

__all__ = ["ENDED", "Claim", "Instance", "Ledger", "StudyState"]


class StudyState(StrEnum):
    """Where a study is on its way."""

    RECEIVED = "received"
    COMPLETE = "complete"
    ANALYSING = "analysing"
    TO_SEND = "to_send"
    SENT = "sent"
    NOTHING_ELIGIBLE = "nothing_eligible"
    FAILED = "failed"


# Where a study waits for a step to be tried again.
_BEFORE = {StudyState.ANALYSING: StudyState.COMPLETE, StudyState.TO_SEND: StudyState.TO_SEND}

#: Nothing more to do, unless an image is added.
ENDED = (StudyState.SENT, StudyState.NOTHING_ELIGIBLE, StudyState.FAILED)


@dataclass(frozen=True)
class Instance:
    """Identity of a received object."""

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
    report: str | None
    """Name of the report's file."""


class _Base(DeclarativeBase):
    pass


class _Study(_Base):
    __tablename__ = "studies"

    study_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(20), index=True)
    revision: Mapped[int] = mapped_column(default=0)
    """Counts the instances that were added."""
    held: Mapped[bool] = mapped_column(default=False)
    """More is being fetched: not complete however long it is quiet."""
    last_instance_at: Mapped[float]
    changed_at: Mapped[float]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt: Mapped[float] = mapped_column(default=0.0)
    reason: Mapped[str | None] = mapped_column(String(40))
    lease_owner: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    report: Mapped[str | None] = mapped_column(String(255))


class _Instance(_Base):
    __tablename__ = "instances"

    study_instance_uid: Mapped[str] = mapped_column(
        ForeignKey("studies.study_instance_uid"), primary_key=True
    )
    sop_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    """Of its file in the spool."""


class _Duty(_Base):
    """A task that one replica at a time does."""

    __tablename__ = "duties"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    until: Mapped[float]


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
        try:
            # Parameters of a failed statement would land in the error's text.
            self._engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
        except (ArgumentError, ModuleNotFoundError) as error:
            text = "the ledger's URL: expected one of SQLAlchemy, as postgresql+pg8000://user@host/database"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _make_sqlite_durable)
            event.listen(self._engine, "begin", _begin_immediate)
        with self._transaction() as session:
            _Base.metadata.create_all(session.connection())

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
            key = (instance.study_instance_uid, instance.sop_instance_uid, instance.digest)
            if session.get(_Instance, key) is not None:
                return False
            session.add(_Instance(**_key(instance), name=name))
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
        held = and_(_Study.study_instance_uid == study_instance_uid, _Study.held)
        with self._transaction() as session:
            session.execute(update(_Study).where(held).values(held=False, last_instance_at=now))

    def held(self) -> Sequence[str]:
        """Studies of which more is to be fetched."""
        with self._transaction() as session:
            return session.scalars(select(_Study.study_instance_uid).where(_Study.held)).all()

    def known_sop_instances(self, study_instance_uid: str) -> set[str]:
        """SOP Instance UIDs of a study's images that are here."""
        query = select(_Instance.sop_instance_uid).where(_Instance.study_instance_uid == study_instance_uid)
        with self._transaction() as session:
            return set(session.scalars(query))

    def _locked_study(self, session: Session, study_instance_uid: str, now: float) -> _Study:
        query = select(_Study).where(_Study.study_instance_uid == study_instance_uid).with_for_update()
        study = session.scalar(query)
        if study is not None:
            return study
        try:
            with session.begin_nested():
                session.add(
                    _Study(
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
            _Study.state == StudyState.RECEIVED,
            _Study.last_instance_at <= before,
            _Study.revision > 0,
            ~_Study.held,
        )
        with self._transaction() as session:
            changed = session.execute(
                update(_Study).where(quiet).values(state=StudyState.COMPLETE, changed_at=now)
            )
            return int(changed.rowcount)  # type: ignore[attr-defined]

    def claim_analysis(self, now: float) -> Claim | None:
        """Take the study that has waited longest for its analysis; None where there is none."""
        due = and_(_Study.state == StudyState.COMPLETE, _Study.next_attempt <= now)
        deserted = and_(_Study.state == StudyState.ANALYSING, _Study.lease_until <= now)
        return self._claim(_waiting(or_(due, deserted)), StudyState.ANALYSING, now)

    def claim_delivery(self, now: float) -> Claim | None:
        """Take the study whose report has waited longest; None where there is none."""
        due = and_(_Study.state == StudyState.TO_SEND, _Study.next_attempt <= now, _Study.lease_until <= now)
        return self._claim(_waiting(due), StudyState.TO_SEND, now)

    def _claim(self, query: Select[_Study], state: StudyState, now: float) -> Claim | None:
        with self._transaction() as session:
            study = session.scalar(query)
            if study is None:
                return None
            study.state = state
            study.attempts += 1
            study.lease_owner = self._owner
            study.lease_until = now + self._lease
            return Claim(
                study.study_instance_uid,
                state,
                study.revision,
                study.attempts,
                study.last_instance_at,
                study.report,
            )

    def image_names(self, claim: Claim) -> Sequence[str]:
        """Files of a study's images in the spool, in a stable order."""
        query = (
            select(_Instance.name)
            .where(_Instance.study_instance_uid == claim.study_instance_uid)
            .order_by(_Instance.sop_instance_uid, _Instance.digest)
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
        report: str | None = None,
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
            study.report = report
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

    def _still_mine(self, session: Session, claim: Claim) -> _Study | None:
        query = select(_Study).where(
            _Study.study_instance_uid == claim.study_instance_uid,
            _Study.state == claim.state,
            _Study.revision == claim.revision,
            _Study.attempts == claim.attempts,
            _Study.lease_owner == self._owner,
        )
        return session.scalar(query.with_for_update())

    def renew_leases(self, now: float) -> None:
        """This replica is alive."""
        half_gone = _Study.lease_until.between(now, now + self._lease / 2)
        mine = and_(_Study.lease_owner == self._owner, half_gone)
        with self._transaction() as session:
            session.execute(update(_Study).where(mine).values(lease_until=now + self._lease))

    def desert(self) -> None:
        """Give up all leases of this replica: it has just started, or is about to stop."""
        with self._transaction() as session:
            session.execute(update(_Study).where(_Study.lease_owner == self._owner).values(lease_until=0.0))
            session.execute(update(_Duty).where(_Duty.owner == self._owner).values(until=0.0))

    def take_duty(self, name: str, now: float) -> bool:
        """Whether this replica does a task that only one may do at a time."""
        with self._transaction() as session:
            duty = session.scalar(select(_Duty).where(_Duty.name == name).with_for_update())
            if duty is None:
                try:
                    with session.begin_nested():
                        session.add(_Duty(name=name, owner=self._owner, until=now + self._lease))
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
        old = and_(_Study.state.in_(ENDED), _Study.changed_at <= before)
        has_images = exists().where(_Instance.study_instance_uid == _Study.study_instance_uid)
        forgotten: dict[str, Sequence[str]] = {}
        with self._transaction() as session:
            query = select(_Study).where(old, has_images).limit(100).with_for_update(skip_locked=True)
            for study in session.scalars(query):
                of_study = _Instance.study_instance_uid == study.study_instance_uid
                names = session.scalars(select(_Instance.name).where(of_study)).all()
                forgotten[study.study_instance_uid] = names
                session.execute(delete(_Instance).where(of_study))
        return forgotten

    def unknown_names(self, names: Sequence[str]) -> set[str]:
        """Those of some file names that no image has."""
        with self._transaction() as session:
            known = set(session.scalars(select(_Instance.name).where(_Instance.name.in_(names))))
        return set(names) - known

    def count_by_state(self) -> dict[StudyState, int]:
        """Number of studies in every state."""
        with self._transaction() as session:
            rows = session.execute(select(_Study.state, func.count()).group_by(_Study.state)).all()
        return dict.fromkeys(StudyState, 0) | {StudyState(state): count for state, count in rows}

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            text = f"the ledger cannot be used ({type(error).__name__})"
            raise ServiceError(ReasonCode.LEDGER_UNAVAILABLE, text) from error


def _key(instance: Instance) -> dict[str, str]:
    return {
        "study_instance_uid": instance.study_instance_uid,
        "sop_instance_uid": instance.sop_instance_uid,
        "digest": instance.digest,
    }


def _enter(study: _Study, state: StudyState, now: float) -> None:
    """A new state begins with a clean slate."""
    study.state = state
    study.changed_at = now
    study.attempts, study.next_attempt = 0, 0.0
    study.reason = study.report = None
    study.lease_owner, study.lease_until = None, 0.0


def _waiting(condition: Any) -> Select[_Study]:
    oldest_first = select(_Study).where(condition).order_by(_Study.last_instance_at)
    return oldest_first.limit(1).with_for_update(skip_locked=True)


def _make_sqlite_durable(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_immediate
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_immediate(connection: Connection) -> None:
    """Lock at the start: a read that turns into a write would fail where another connection wrote between."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
