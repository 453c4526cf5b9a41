"""Model folders (contract C1), read with their hashes checked, and stores of several versions.

A store has a folder for each version, and current.json names the one in use.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.model.spec import ModelSpec

__all__ = [
    "CASES",
    "CURRENT",
    "MODEL_FILES",
    "VERSIONS",
    "WEIGHTS",
    "Change",
    "Current",
    "ModelFolder",
    "VersionName",
    "current_folder",
    "default_model_folder",
    "read_cases",
    "read_current",
    "read_model_folder",
    "read_spec",
    "write_model_folder",
]

#: File names of the network and, optional, of the labelled training images (``ModelSpec.cases_sha256``).
WEIGHTS, CASES = "model.onnx", "cases.npz"
_SPEC = "model.json"
#: Names of the files that a model folder may have.
MODEL_FILES = (WEIGHTS, _SPEC, CASES)
#: Name of a store's file that names the version in use, and of the folder with the versions.
CURRENT, VERSIONS = "current.json", "versions"

#: Name of a version, which is safe as the name of a folder.
VersionName = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]*$", max_length=64)]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a store's history."""

    version: VersionName
    at: str
    """Time of the change, ISO 8601 with offset."""
    by: str
    """Name of the person who made the change."""
    action: str
    """``imported``, ``adopted`` or ``rolled back``."""


class Current(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of current.json."""

    version: VersionName
    history: tuple[Change, ...]


@dataclass(frozen=True)
class ModelFolder:
    """Verified content of a model folder."""

    spec: ModelSpec
    """Content of model.json."""
    weights: bytes
    """Content of model.onnx."""
    fingerprint: str
    """sha256 of model.json: changes with the weights, the operating points, the wording of the target."""


def current_folder(folder: Path) -> Path:
    """The model folder to read: of a store, that of the version in use; else the folder itself.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where current.json is damaged.
    """
    if not (folder / CURRENT).is_file():
        return folder
    return folder / VERSIONS / read_current(folder).version


def read_current(store: Path) -> Current:
    """Version of a store that is in use, and the store's history.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where current.json is missing or damaged.
    """
    path = store / CURRENT
    content = _read(path, "expected a store of model versions")
    try:
        return msgspec.json.decode(content, type=Current)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(ReasonCode.INVALID_MODEL, f"{path}: {error}") from error


def read_model_folder(folder: Path) -> ModelFolder:
    """Read and verify a model folder, or the current version of a store.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where a file is missing, the weights are not those of model.json, or model.json has
        an unknown key, a missing key or a value of the wrong kind.
    """
    folder = current_folder(folder)
    content = _read(folder / _SPEC)
    weights = _read(folder / WEIGHTS)
    spec = _decode(content, folder)
    _check_hash(folder / WEIGHTS, weights, spec.weights_sha256)
    return ModelFolder(spec, weights, hashlib.sha256(content).hexdigest())


def read_spec(folder: Path) -> ModelSpec:
    """Read model.json alone, of a model folder or of the current version of a store.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where model.json is missing, or not what this version understands.
    """
    folder = current_folder(folder)
    return _decode(_read(folder / _SPEC), folder)


def read_cases(folder: Path) -> bytes | None:
    """Read and verify cases.npz of a model folder, or of the current version of a store.

    Returns
    -------
    Content of the file; None where the model has none.

    Raises
    ------
    ModelError
        ``INVALID_MODEL`` where model.json names the file, and it is missing or altered.
    """
    folder = current_folder(folder)
    expected = read_spec(folder).cases_sha256
    if expected is None:
        return None
    content = _read(folder / CASES)
    _check_hash(folder / CASES, content, expected)
    return content


def write_model_folder(
    folder: Path, weights: bytes, spec: ModelSpec, cases: bytes | None = None
) -> ModelSpec:
    """Write model.onnx, cases.npz where there is one, and then model.json with the hashes of both.

    Raises
    ------
    ReportError
        ``WRITE_FAILED``.
    """
    spec = msgspec.structs.replace(
        spec,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        cases_sha256=None if cases is None else hashlib.sha256(cases).hexdigest(),
    )
    write_atomically(folder / WEIGHTS, weights)
    if cases is not None:
        write_atomically(folder / CASES, cases)
    write_atomically(folder / _SPEC, msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n")
    return spec


def default_model_folder() -> Path:
    """Folder of the model that comes with the package: inside a wheel, or in a checkout's bundle."""
    package = Path(__file__).parent.parent
    shipped = package / "default_model"
    return shipped if shipped.is_dir() else package.parent / "bundle" / "models"


def _read(path: Path, expected: str = f"a model folder has {WEIGHTS} and {_SPEC}") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}); {expected}"
        raise ModelError(ReasonCode.INVALID_MODEL, text) from error


def _decode(content: bytes, folder: Path) -> ModelSpec:
    try:
        return msgspec.json.decode(content, type=ModelSpec)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(ReasonCode.INVALID_MODEL, f"{folder / _SPEC}: {error}") from error


def _check_hash(path: Path, content: bytes, expected: str) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != expected:
        text = f"{path}: sha256 is {sha256}, {_SPEC} expects {expected}"
        raise ModelError(ReasonCode.INVALID_MODEL, text)
