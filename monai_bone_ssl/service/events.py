"""The log of the service: one JSON object a line, without patient data.

Studies are named by their Study Instance UID. Messages of other libraries may quote values of a data set, so
only their origin and the kind of error are logged.
"""

from __future__ import annotations

import logging
import sys
import threading
from datetime import UTC, datetime

import msgspec

from monai_bone_ssl.faults import fault_place

__all__ = ["log_event", "log_fault", "start_logging"]

_LOGGER = logging.getLogger("monai_bone_ssl.service")
Value = str | int | float | None


def log_event(event: str, *, level: int = logging.INFO, **fields: Value) -> None:
    """Write one line, as ``{"time": ..., "level": "info", "event": "sent", "study": "1.2.3"}``.

    Parameters
    ----------
    event
        Name of the event, in one word.
    level
        Severity, as in :mod:`logging`.
    **fields
        More fields of the line; never a name, an identifier or a date of a patient.
    """
    _LOGGER.log(level, event, extra={"fields": fields})


def start_logging() -> None:
    """Write everything that is logged in this process to the error stream, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    _LOGGER.setLevel(logging.INFO)
    threading.excepthook = _log_fault_of_thread


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Value] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if record.name == _LOGGER.name:
            line |= {"event": record.getMessage(), **getattr(record, "fields", {})}
        else:
            kind = record.exc_info[0] if record.exc_info else None
            line |= {"event": "library", "library": record.name, "error": kind.__name__ if kind else None}
        return msgspec.json.encode(line).decode()


def log_fault(error: BaseException) -> None:
    """Log the place of a programming error, without the error's message, which may quote a value."""
    place = fault_place(error.__traceback__)
    log_event("fault", level=logging.CRITICAL, error=type(error).__name__, where=place)


def _log_fault_of_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None:
        log_fault(arguments.exc_value)
