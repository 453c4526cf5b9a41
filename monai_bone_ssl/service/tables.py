"""The ledger's tables, and how its database is opened so that what was committed survives a power cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = [
    "ENDED",
    "Base",
    "Claim",
    "DutyRow",
    "Instance",
    "InstanceRow",
    "StudyRow",
    "StudyState",
    "open_database",
]


class StudyState(StrEnum):
    """State of a study on its way from the first image to the report sent."""

    RECEIVED = "received"
    COMPLETE = "complete"
    ANALYSING = "analysing"
    TO_SEND = "to_send"
    SENT = "sent"
    NOTHING_ELIGIBLE = "nothing_eligible"
    FAILED = "failed"


#: States in which nothing more is to be done, unless an image is added.
ENDED = (StudyState.SENT, StudyState.NOTHING_ELIGIBLE, StudyState.FAILED)


@dataclass(frozen=True)
class Instance:
    """Identity of a received image: the primary key of its row."""

    study_instance_uid: str
    sop_instance_uid: str
    digest: str
    """SHA-256 of the data set, in hexadecimal."""


@dataclass(frozen=True)
class Claim:
    """A study that a replica works on, as it was when the replica claimed it."""

    study_instance_uid: str
    state: StudyState
    revision: int
    attempts: int
    """Number of times that this step was begun, this time included."""
    since: float
    """Time at which the last image came, in seconds since the epoch."""
    outbox: Sequence[str]
    """Names of the files to send, the report's first."""


class Base(DeclarativeBase):
    """Base of all tables."""


class StudyRow(Base):
    """A study and its state."""

    __tablename__ = "studies"

    study_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(20), index=True)
    revision: Mapped[int] = mapped_column(default=0)
    """Number of images that were added so far."""
    held: Mapped[bool] = mapped_column(default=False)
    """Whether images are being fetched: the study is not complete then, however long it is quiet."""
    last_instance_at: Mapped[float]
    changed_at: Mapped[float]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt: Mapped[float] = mapped_column(default=0.0)
    reason: Mapped[str | None] = mapped_column(String(40))
    lease_owner: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    outbox: Mapped[list[str]] = mapped_column(JSON, default=list)
    """Names of the files to send, the report's first."""


class InstanceRow(Base):
    """A received image; one SOP instance that came with two contents is two rows."""

    __tablename__ = "instances"

    study_instance_uid: Mapped[str] = mapped_column(
        ForeignKey("studies.study_instance_uid"), primary_key=True
    )
    sop_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    """Name of the image's file in the spool."""


class DutyRow(Base):
    """A task that one replica at a time does."""

    __tablename__ = "duties"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    until: Mapped[float]


def open_database(url: str) -> Engine:
    """Connect to an SQLite or PostgreSQL database.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the URL is not of such a database.
    """
    try:
        # The text of an error must not quote the parameters of the statement that failed.
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
    except (ArgumentError, ModuleNotFoundError) as error:
        text = "the ledger's URL: expected one of SQLAlchemy, as postgresql+pg8000://user@host/database"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _make_sqlite_durable)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _make_sqlite_durable(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_immediate
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_immediate(connection: Connection) -> None:
    """Lock at the start: a read that turns into a write would fail if another connection wrote between."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
