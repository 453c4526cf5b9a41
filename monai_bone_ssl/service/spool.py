"""Files that survive a power cut: written under a passing name, flushed, renamed, the folder flushed too."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.files import writing

__all__ = ["Spool"]

_PARTIAL = ".partial"
_ORPHAN_SECONDS = 3600.0


class Spool:
    """The folder that holds received images and reports.

    Each received file gets a name of its own, so that what one process removes can never be what another
    has just acknowledged.

    Parameters
    ----------
    folder
        Made where missing.
    reserve
        Bytes that receiving leaves free, so that reports and the ledger can still be written.

    Raises
    ------
    ReportError
        ``WRITE_FAILED`` where it cannot be made.
    """

    def __init__(self, folder: Path, reserve: int) -> None:
        self._images = folder / "images"
        self._reports = folder / "reports"
        self._reserve = reserve
        with writing(folder):
            self._images.mkdir(parents=True, exist_ok=True)
            self._reports.mkdir(exist_ok=True)

    def free(self) -> int:
        """Bytes that may still be received."""
        with writing(self._images):
            return max(0, shutil.disk_usage(self._images).free - self._reserve)

    @contextmanager
    def incoming(self, content: bytes) -> Iterator[Path]:
        """A flushed file that is removed after the block unless :meth:`keep` took it.

        Raises
        ------
        ReportError
            ``WRITE_FAILED`` where the disk or its reserve is full.
        """
        path = self._images / f"{uuid4().hex}{_PARTIAL}"
        try:
            with writing(path):
                if len(content) > self.free():
                    raise ReportError(ReasonCode.WRITE_FAILED, f"{self._images}: the disk is full")
                with path.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, incoming: Path, sop_instance_uid: str) -> str:
        """Give a file from :meth:`incoming` its lasting name and return that.

        Raises
        ------
        ReportError
            ``WRITE_FAILED``.
        """
        name = f"{sop_instance_uid}_{uuid4().hex}.dcm"
        with writing(incoming):
            incoming.replace(self._images / name)
            _flush_folder(self._images)
        return name

    def image(self, name: str) -> Path:
        """Where a kept file is."""
        return self._images / name

    def remove(self, names: Iterable[str]) -> None:
        """Remove images."""
        for name in names:
            self.image(name).unlink(missing_ok=True)

    def report_folder(self, study_instance_uid: str, revision: int) -> Path:
        """An existing folder for the report on one revision of a study.

        Raises
        ------
        ReportError
            ``WRITE_FAILED``.
        """
        folder = self._study_reports(study_instance_uid) / str(revision)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def flush_report(self, folder: Path) -> None:
        """See to it that a report written into a :meth:`report_folder` survives.

        Raises
        ------
        ReportError
            ``WRITE_FAILED``.
        """
        with writing(folder):
            for path in (folder, folder.parent, folder.parent.parent):
                _flush_folder(path)

    def remove_reports(self, study_instance_uid: str) -> None:
        """Remove what was written for a study."""
        shutil.rmtree(self._study_reports(study_instance_uid), ignore_errors=True)

    def strays(self) -> list[str]:
        """Names of files that have been there for a while: those no ledger knows are left from a crash."""
        limit = time.time() - _ORPHAN_SECONDS
        return [path.name for path in self._images.iterdir() if _modified(path) < limit]

    def _study_reports(self, study_instance_uid: str) -> Path:
        # A digest, because nobody guarantees what a UID from the network looks like as a file name.
        return self._reports / hashlib.sha256(study_instance_uid.encode()).hexdigest()[:32]


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
