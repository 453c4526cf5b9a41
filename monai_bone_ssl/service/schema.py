"""The ledger's tables made in an empty database, and brought up to date in one of an earlier version."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Table, func, insert, inspect, select, text, update
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateColumn

from monai_bone_ssl.service.tables import ENDED, Base, InstanceRow, StudyRow, StudyState, TallyRow

__all__ = ["create_or_upgrade"]


def create_or_upgrade(connection: Connection) -> None:
    """Make what the database lacks: tables, columns, indices, and what they say of the studies in it.

    Replicas of an earlier version have to be stopped before.
    """
    if connection.dialect.name == "postgresql":  # one replica at a time; SQLite's transactions do so anyway
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext("bone-ssl ledger"))))
    if not inspect(connection).has_table(TallyRow.__tablename__):
        is_old = inspect(connection).has_table(StudyRow.__tablename__)
        Base.metadata.create_all(connection)
        if is_old:
            _upgrade_studies(connection)
        _count_ended(connection)


def _upgrade_studies(connection: Connection) -> None:
    """Bring the table of version 0.1.0 up to date."""
    table = cast(Table, StudyRow.__table__)
    before = {column["name"] for column in inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in before:
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {definition}"))
    connection.execute(text("DROP INDEX ix_studies_state"))
    for index in table.indexes:
        index.create(connection)
    has_images = select(InstanceRow.name).where(InstanceRow.study_instance_uid == StudyRow.study_instance_uid)
    connection.execute(update(StudyRow).values(has_images=has_images.exists(), outbox={}))
    # Reports were noted without a digest of their file: one that was not sent yet is made again.
    to_send = StudyRow.state == StudyState.TO_SEND
    connection.execute(update(StudyRow).where(to_send).values(state=StudyState.COMPLETE, attempts=0))


def _count_ended(connection: Connection) -> None:
    rows = connection.execute(
        select(StudyRow.state, func.count().label("studies"))
        .where(StudyRow.state.in_(ENDED))
        .group_by(StudyRow.state)
    )
    counts = {row.state: row.studies for row in rows}
    connection.execute(
        insert(TallyRow), [{"state": state, "studies": counts.get(state, 0)} for state in ENDED]
    )
