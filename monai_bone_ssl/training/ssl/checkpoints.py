"""Where an interrupted run goes on from, and whether it is the same run."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = ["check_same_run", "checkpoints", "newest_checkpoint"]


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that MONAI's ``CheckpointSaver`` wrote, the oldest first."""
    numbered = [
        (int(found[1]), path)
        for path in folder.glob("checkpoint_epoch=*.pt")
        if (found := re.fullmatch(r"checkpoint_epoch=(\d+)\.pt", path.name))
    ]
    return [path for _, path in sorted(numbered)]


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; None where there is none.

    The saver writes in place, so a run that was killed may leave half a file: its end, where a zip archive
    keeps its directory, is missing then.
    """
    whole = [path for path in checkpoints(folder) if zipfile.is_zipfile(path)]
    return whole[-1] if whole else None


def check_same_run(before: Mapping[str, object], now: Mapping[str, object], out: Path) -> None:
    """Refuse to go on with other arguments than a run began with.

    Raises
    ------
    ConfigError
        Naming the first argument that differs, and both values.
    """
    for name in dict.fromkeys((*before, *now)):
        if before.get(name) != now.get(name):
            raise ConfigError(
                ReasonCode.INVALID_CONFIG,
                f"{out}: the run there began with {name.replace('_', ' ')} {before.get(name)}, now it is "
                f"{now.get(name)}; expected the same arguments to go on with it, or another folder",
            )
