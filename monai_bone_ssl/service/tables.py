"""The ledger's tables: studies and their states, images, and what is fetched from an archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, false, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "ENDED",
    "Base",
    "Claim",
    "DutyRow",
    "FetchRow",
    "Instance",
    "InstanceRow",
    "MissingImageRow",
    "StudyRow",
    "StudyState",
    "TallyRow",
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
    age: float
    """Seconds from the study's last image to the claim."""
    outbox: Mapping[str, str]
    """SHA-256, in hexadecimal, of each file to send by the file's name, the report's first."""


class Base(DeclarativeBase):
    """Base of all tables."""


class StudyRow(Base):
    """A study and its state. Times are in seconds since the epoch, by the database's clock."""

    __tablename__ = "studies"

    study_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(20))
    revision: Mapped[int] = mapped_column(default=0)
    """Number of images that were added so far."""
    has_images: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether images of the study are in the spool."""
    held: Mapped[bool] = mapped_column(default=False)
    """Whether images are being fetched: the study is not complete then, however long it is quiet."""
    last_instance_at: Mapped[float]
    changed_at: Mapped[float]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt: Mapped[float] = mapped_column(default=0.0)
    """Time from which the study may be claimed; of several studies the earliest is claimed first."""
    reason: Mapped[str | None] = mapped_column(String(40))
    lease_owner: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    outbox: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    """SHA-256, in hexadecimal, of each file to send by the file's name, the report's first."""
    reports: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list, server_default="[]")
    """Reports that the archive was given, as :class:`~monai_bone_ssl.report.study.EarlierReport`."""
    corrections: Mapped[int] = mapped_column(default=0, server_default="0")
    """Number of times that the study was forgotten by the operator, to be sent anew."""

    __table_args__ = (
        # For claims and counts, for cleaning, for one replica's studies, and for those being fetched.
        Index("ix_studies_due", "state", "next_attempt"),
        Index("ix_studies_age", "has_images", "changed_at"),
        Index("ix_studies_leased", "lease_owner"),
        Index("ix_studies_held", "held", sqlite_where=text("held = 1"), postgresql_where=text("held")),
    )


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


class FetchRow(Base):
    """A study of the archive that is fetched, or was."""

    __tablename__ = "fetches"

    study_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    instances: Mapped[int | None]
    """Number of instances in the archive at the end of the fetch; None before, or where it does not tell."""
    attempts: Mapped[int] = mapped_column(default=0, index=True)
    """Number of failures in a row; 0 after an end."""
    next_attempt: Mapped[float] = mapped_column(default=0.0)
    changed_at: Mapped[float] = mapped_column(default=0.0, index=True)


class MissingImageRow(Base):
    """An image that the archive lists, but does not hand out in a form that can be kept."""

    __tablename__ = "missing_images"

    study_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    reason: Mapped[str] = mapped_column(String(40))


class DutyRow(Base):
    """A task that one replica at a time does."""

    __tablename__ = "duties"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    until: Mapped[float]


class TallyRow(Base):
    """Number of studies in an end state: counting them anew would take longer every day."""

    __tablename__ = "tallies"

    state: Mapped[str] = mapped_column(String(20), primary_key=True)
    studies: Mapped[int]
