"""The ledger's database: SQLite or PostgreSQL, opened so that what was committed survives a power cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from monai_bone_ssl.errors import ConfigError, ReasonCode, ServiceError
from monai_bone_ssl.service.schema import create_or_upgrade

__all__ = ["Database"]

# Seconds since the epoch, with fractions; PostgreSQL's is the present moment, not the transaction's start.
_CLOCKS = {
    "sqlite": text("SELECT (julianday('now') - 2440587.5) * 86400.0"),
    "postgresql": text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)"),
}


class Database:
    """A database that replicas share. All methods may be called from any thread.

    Parameters
    ----------
    url
        SQLAlchemy URL of an SQLite or PostgreSQL database; tables are made or brought up to date.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the URL is not of such a database.
    ServiceError
        ``LEDGER_UNAVAILABLE``, from here and from every method.
    """

    def __init__(self, url: str) -> None:
        self._engine = _open(url)
        with self.transaction() as session:
            create_or_upgrade(session.connection())

    def close(self) -> None:
        """Close connections."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A block whose changes are kept as a whole, or not at all where it raises."""
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            text = f"the ledger cannot be used ({type(error).__name__})"
            raise ServiceError(ReasonCode.LEDGER_UNAVAILABLE, text) from error

    def now(self, session: Session) -> float:
        """Present time by the database's clock, in seconds since the epoch.

        Clocks of replicas may differ; all of them see this one.
        """
        return float(session.scalars(_CLOCKS[self._engine.dialect.name]).one())


def _open(url: str) -> Engine:
    try:
        # The text of an error must not quote the parameters of the statement that failed.
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
    except (ArgumentError, ModuleNotFoundError) as error:
        raise _unusable() from error
    if engine.dialect.name not in _CLOCKS:
        raise _unusable()
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _make_sqlite_durable)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _unusable() -> ConfigError:
    text = "the ledger's URL: expected one of SQLAlchemy, as postgresql+pg8000://user@host/database"
    return ConfigError(ReasonCode.INVALID_CONFIG, text)


def _make_sqlite_durable(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_immediate
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_immediate(connection: Connection) -> None:
    """Lock at the start: a read that turns into a write would fail if another connection wrote between."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
