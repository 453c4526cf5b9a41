"""A lock file that says who holds it, so that two processes never write as the same reader.

Exclusive creation of a file holds on network drives too. Locks of the operating system name no holder, and
some network drives keep them for each computer alone.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Self
from uuid import uuid4

import msgspec

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import writing

__all__ = ["ReaderLock"]


class _Holder(msgspec.Struct, frozen=True):
    """Content of a lock file: who holds the lock, and since when."""

    reader: str
    host: str
    pid: int
    since: str
    token: str
    """Random text that tells two locks of one process apart."""


class ReaderLock:
    """A held lock; made by :meth:`acquire`."""

    def __init__(self, path: Path, holder: _Holder) -> None:
        self._path = path
        self._holder = holder

    @classmethod
    def acquire(cls, path: Path, reader: str) -> Self:
        """Take the lock; that of a process of this machine that has ended is taken over.

        Parameters
        ----------
        path
            The lock file.
        reader
            Name of the reader who asks for the lock.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG`` where another process holds the lock; the text says who, since when and what to
            do.
        ReportError
            ``WRITE_FAILED`` where the folder cannot be written.
        """
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        lock = cls(path, _Holder(reader, socket.gethostname(), os.getpid(), now, uuid4().hex))
        with writing(path):
            if not lock._create():
                lock._remove_if_left_behind()
                if not lock._create():
                    raise _held(path)
        return lock

    @property
    def is_held(self) -> bool:
        """Whether this process still holds the lock: nobody has deleted the file or taken it over."""
        return _read(self._path) == self._holder

    def check(self) -> None:
        """Make sure that the lock is still held.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG`` where it is not: what this process would write might overwrite another's.
        """
        if not self.is_held:
            raise _held(self._path)

    def release(self) -> None:
        """Give the lock back, if it is still held.

        Raises
        ------
        ReportError
            ``WRITE_FAILED``.
        """
        if self.is_held:
            with writing(self._path):
                self._path.unlink(missing_ok=True)

    def _create(self) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = self._path.open("xb")
        except FileExistsError:
            return False
        with ExitStack() as on_error:
            on_error.callback(self._path.unlink)  # half a lock would lock everybody out
            with file:
                file.write(msgspec.json.encode(self._holder))
            on_error.pop_all()
        return True

    def _remove_if_left_behind(self) -> None:
        holder = _read(self._path)
        if holder is None or holder.host != self._holder.host or _is_running(holder.pid):
            raise _held(self._path)
        self._path.unlink(missing_ok=True)


def _read(path: Path) -> _Holder | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Holder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _held(path: Path) -> ConfigError:
    holder = _read(path)
    if holder is None:
        who = "the lock file is missing or cannot be read: another process may write as this reader"
    else:
        who = f"{holder.reader} reads since {holder.since} on {holder.host} (process {holder.pid})"
    text = f"{path}: {who}; close that session, or delete this file if it has ended"
    return ConfigError(ReasonCode.INVALID_CONFIG, text)


def _is_running(pid: int) -> bool:
    """Whether a process of this machine is running."""
    if sys.platform == "win32":  # os.kill would end the process there
        import ctypes

        synchronize, timed_out = 0x00100000, 0x00000102
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, pid)
        running = bool(ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == timed_out)
        ctypes.windll.kernel32.CloseHandle(handle)
        return running
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process of another user
        return True
    return True
