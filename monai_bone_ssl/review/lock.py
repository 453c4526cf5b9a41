"""A lock file that says who holds it, so that two processes never write as the same reader."""

from __future__ import annotations

import os
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Self
from uuid import uuid4

import msgspec

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.files import writing

__all__ = ["ReaderLock"]


class _Holder(msgspec.Struct, frozen=True):
    """Content of a lock file."""

    reader: str
    host: str
    pid: int
    since: str
    token: str
    """Tells two locks of one process apart."""


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
            Who asks for it.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG`` where another process holds it, with who, since when and what to do.
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

    def check(self) -> None:
        """Make sure that nobody has taken the lock over.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG`` where somebody has: what this process would write might overwrite theirs.
        """
        if _read(self._path) != self._holder:
            raise _held(self._path)

    def release(self) -> None:
        """Give the lock back, if it is still held."""
        if _read(self._path) == self._holder:
            self._path.unlink(missing_ok=True)

    def _create(self) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._path.open("xb") as file:
                file.write(msgspec.json.encode(self._holder))
        except FileExistsError:
            return False
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
    except PermissionError:  # another user's
        return True
    return True
