"""Writing files so that no reader ever meets half of one."""

from __future__ import annotations

import os
from pathlib import Path

from monai_bone_ssl.errors import ReasonCode, ReportError

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` under another name, then rename; folders are made as needed.

    Raises
    ------
    ReportError
        If the file cannot be written; nothing is left behind then.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(ReasonCode.WRITE_FAILED, f"{path}: cannot be written ({error.strerror})") from error
