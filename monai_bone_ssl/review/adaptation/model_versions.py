"""Model folders in versions: adopt a new one, go back to the one before, know who did what and when.

A store is a folder::

    versions/<version>/     model folders, never changed once they are there
    current.json            which of them is in use, and the history of that

Whatever takes a model folder takes a store too, and uses the version in use. That version and the history are
one file: a change that cannot be written (``ReportError``, ``WRITE_FAILED``) has not happened. A folder that
is no model, and a store that is none, are a ``ModelError``.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import msgspec

from monai_bone_ssl.errors import ConfigError, ModelError, ReasonCode
from monai_bone_ssl.files import write_atomically, writing
from monai_bone_ssl.model.folder import (
    CURRENT,
    MODEL_FILES,
    VERSIONS,
    Change,
    Current,
    VersionName,
    current_folder,
    read_current,
    read_model_folder,
    read_spec,
)

__all__ = ["adopt", "is_store", "rollback", "versions"]


def adopt(store: Path, candidate: Path, in_use: Path, by: str) -> str:
    """Use a new model from now on, and return its version.

    Parameters
    ----------
    store
        Folder of the store; made where missing.
    candidate
        Model folder that is copied into the store.
    in_use
        Model that a new store begins with, to go back to; a store that exists has its own.
    by
        Name of the person who decided this, for the history.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the store has another model under that version, or the candidate was adapted
        from another model than the one in use.
    """
    if not is_store(store):
        _put(store, in_use, by, "imported", ())
    now = read_current(store)
    parent = read_spec(candidate).parent_weights_sha256
    if parent is not None and parent != read_spec(store).weights_sha256:
        text = f"{candidate}: was adapted from another model than version {now.version}, which is in use"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    return _put(store, candidate, by, "adopted", now.history)


def rollback(store: Path, by: str) -> str:
    """Use the version again that was in use before the current one; twice goes back two versions.

    Returns
    -------
    The version in use now.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where there is none before.
    """
    now = read_current(store)
    line = _line_of_descent(now.history)
    if len(line) < 2:
        text = f"{store}: version {now.version} is the first one, expected one before it to go back to"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    version = line[-2]
    read_model_folder(store / VERSIONS / version)  # refuses to go back to a damaged model
    _use(store, version, by, "rolled back", now.history)
    return version


def is_store(folder: Path) -> bool:
    """Whether a folder is a store."""
    return (folder / CURRENT).is_file()


def versions(folder: Path) -> list[str]:
    """Versions in a store; for a plain model folder, the model's own version."""
    if not is_store(folder):
        return [read_spec(folder).version]
    return sorted(place.name for place in (folder / VERSIONS).iterdir() if (place / "model.json").is_file())


def _line_of_descent(history: tuple[Change, ...]) -> list[str]:
    """Versions in use one after the other, without those that were rolled back."""
    line: list[str] = []
    for change in history:
        if change.action == "rolled back":
            line.pop()
        else:
            line.append(change.version)
    return line


def _put(store: Path, folder: Path, by: str, action: str, history: tuple[Change, ...]) -> str:
    model = read_model_folder(folder)
    version = model.spec.version
    place = store / VERSIONS / _checked_name(version)
    if not place.exists():
        _copy(folder, place)
    elif read_model_folder(place).fingerprint != model.fingerprint:
        text = f"{place}: another model has this version, expected a version of its own"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text)
    _use(store, version, by, action, history)
    return version


def _checked_name(version: str) -> str:
    try:
        return msgspec.convert(version, VersionName)
    except msgspec.ValidationError as error:
        text = f"version {version!r}: expected letters, digits and . + _ -"
        raise ModelError(ReasonCode.INVALID_MODEL, text) from error


def _copy(folder: Path, place: Path) -> None:
    """Copy a model folder so that it is there whole or not at all."""
    source = current_folder(folder)
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with writing(place):
            partial.mkdir(parents=True)
            for name in MODEL_FILES:
                if (source / name).is_file():
                    shutil.copyfile(source / name, partial / name)
            partial.replace(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _use(store: Path, version: str, by: str, action: str, history: tuple[Change, ...]) -> None:
    at = datetime.now().astimezone().isoformat(timespec="seconds")
    content = Current(version, (*history, Change(version, at, by, action)))
    write_atomically(store / CURRENT, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
