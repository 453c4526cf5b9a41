"""The folder of images and reports on their way; what is kept in it survives a power cut.

A file is written under a passing name, flushed and renamed, and its folder is flushed too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.files import writing

__all__ = ["IncomingFile", "Spool"]

# Age, in seconds, from which a file that no ledger knows is taken for the rest of a crash.
_SETTLED_SECONDS = 3600.0
# Bytes of a file that is being received after which the room on the disk is looked at again.
_BYTES_BETWEEN_LOOKS = 1 << 24


class IncomingFile:
    """A file that is written piece by piece, and removed unless the spool keeps it.

    Parameters
    ----------
    path
        Path of the file, which must not exist.
    free
        Counts the bytes that may still be received.

    Raises
    ------
    ReportError
        ``WRITE_FAILED``, from here and from every method, where the file system refuses.
    """

    def __init__(self, path: Path, free: Callable[[], int]) -> None:
        self.path = path
        self._free = free
        self._unchecked = _BYTES_BETWEEN_LOOKS
        with writing(path):
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def write(self, content: bytes) -> None:
        """Append to the file.

        Raises
        ------
        ReportError
            ``WRITE_FAILED`` where the disk is full up to its reserve.
        """
        self._unchecked += len(content)
        with writing(self.path):
            if self._unchecked >= _BYTES_BETWEEN_LOOKS:
                if len(content) > self._free():
                    raise ReportError(ReasonCode.WRITE_FAILED, f"{self.path.parent}: the disk is full")
                self._unchecked = 0
            self._file.write(content)

    def finish(self) -> None:
        """End the writing; afterwards the content survives a power cut."""
        with writing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Remove the file, unless the spool has kept it; what fails here is left to cleaning."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class Spool:
    """Received images and reports.

    Each received file gets a name of its own, so that what one process removes can never be what another
    has just acknowledged.

    Parameters
    ----------
    folder
        Folder of the spool; made where missing. Nobody but the owner may look into what it holds.
    reserve
        Bytes that receiving leaves free, so that reports and the ledger can still be written.

    Raises
    ------
    ReportError
        ``WRITE_FAILED``, from here and from every method, where the file system refuses.
    """

    def __init__(self, folder: Path, reserve: int) -> None:
        self._images = folder / "images"
        self._reports = folder / "reports"
        self._reserve = reserve
        with writing(folder):
            for path in (self._images, self._reports):
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(0o700)

    def free(self) -> int:
        """Count the bytes that may still be received."""
        with writing(self._images):
            return max(0, shutil.disk_usage(self._images).free - self._reserve)

    def receive(self) -> IncomingFile:
        """Begin a file that comes in pieces; it counts only once :meth:`keep` took it."""
        return IncomingFile(self._images / f"{uuid4().hex}.partial", self.free)

    def keep(self, incoming: Path, sop_instance_uid: str) -> str:
        """Give a finished file from :meth:`receive` its lasting name, and return the name."""
        name = f"{sop_instance_uid}_{uuid4().hex}.dcm"
        with writing(incoming):
            incoming.replace(self._images / name)
            _flush_folder(self._images)
        return name

    def image(self, name: str) -> Path:
        """Path of a kept image."""
        return self._images / name

    def remove(self, names: Iterable[str]) -> None:
        """Remove images."""
        with writing(self._images):
            for name in names:
                self.image(name).unlink(missing_ok=True)

    def report_folder(self, study_instance_uid: str, revision: int) -> Path:
        """Make the folder for the report on one revision of a study."""
        folder = self._study_reports(study_instance_uid) / str(revision)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def flush_report(self, folder: Path) -> None:
        """Make sure that a report written into a :meth:`report_folder` survives a power cut."""
        with writing(folder):
            for path in (folder, folder.parent, folder.parent.parent):
                _flush_folder(path)

    def seal(self, folder: Path, names: Iterable[str]) -> dict[str, str]:
        """SHA-256, in hexadecimal, of each file in a :meth:`report_folder`, by the file's name."""
        with writing(folder):
            return {name: _sha256((folder / name).read_bytes()) for name in names}

    def sealed(self, folder: Path, seals: Mapping[str, str]) -> list[bytes] | None:
        """Read the files that :meth:`seal` saw; None where one is gone or is not what it was."""
        try:
            contents = [(folder / name).read_bytes() for name in seals]
        except OSError:
            return None
        return contents if [_sha256(content) for content in contents] == list(seals.values()) else None

    def remove_reports(self, study_instance_uid: str) -> None:
        """Remove all reports on a study."""
        shutil.rmtree(self._study_reports(study_instance_uid), ignore_errors=True)

    def settled(self) -> Iterator[str]:
        """Names of the files that have been there for a while, and so are noted if they ever will be."""
        limit = time.time() - _SETTLED_SECONDS
        with writing(self._images):
            yield from (path.name for path in self._images.iterdir() if _modified(path) < limit)

    def _study_reports(self, study_instance_uid: str) -> Path:
        # A UID from the network may be no valid name of a file; a digest always is.
        return self._reports / hashlib.sha256(study_instance_uid.encode()).hexdigest()[:32]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another thread was quicker
        return float("inf")


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
