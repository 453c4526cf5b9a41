"""Where a model's files are: a model folder, or the version in use of a folder with several of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from monai_bone_ssl.errors import ModelError, ReasonCode

__all__ = ["CURRENT", "VERSIONS", "Change", "Current", "VersionName", "current_folder", "read_current"]

#: File of a store that says which version is in use, and the folder with the versions.
CURRENT, VERSIONS = "current.json", "versions"

#: A version that is safe as the name of a folder.
VersionName = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]*$", max_length=64)]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a store's history."""

    version: VersionName
    at: str
    """ISO 8601 with offset."""
    by: str
    action: str
    """``imported``, ``adopted`` or ``rolled back``."""


class Current(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of current.json."""

    version: VersionName
    history: tuple[Change, ...]


def current_folder(folder: Path) -> Path:
    """The model folder to read: that of the version in use for a store, else ``folder`` itself.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where current.json is damaged.
    """
    if not (folder / CURRENT).is_file():
        return folder
    return folder / VERSIONS / read_current(folder).version


def read_current(store: Path) -> Current:
    """Which version of a store is in use, and its history.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where current.json is missing or damaged.
    """
    path = store / CURRENT
    try:
        return msgspec.json.decode(path.read_bytes(), type=Current)
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}), expected a store of model versions"
        raise ModelError(ReasonCode.INVALID_MODEL, text) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(ReasonCode.INVALID_MODEL, f"{path}: {error}") from error
