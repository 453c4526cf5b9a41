"""A model folder (contract C1): its files are read with their hashes checked, and written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from monai_bone_ssl.errors import ModelError, ReasonCode
from monai_bone_ssl.files import write_atomically
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.model.store import current_folder

__all__ = [
    "CASES",
    "MODEL_FILES",
    "WEIGHTS",
    "ModelFolder",
    "default_model_folder",
    "read_cases",
    "read_model_folder",
    "read_spec",
    "write_model_folder",
]

#: Name of the file with the network.
WEIGHTS = "model.onnx"
_SPEC = "model.json"

#: Name of the optional file with the labelled training images (``ModelSpec.cases_sha256``).
CASES = "cases.npz"
#: Names of the files that a model folder may have.
MODEL_FILES = (WEIGHTS, _SPEC, CASES)


@dataclass(frozen=True)
class ModelFolder:
    """The verified content of a model folder."""

    spec: ModelSpec
    """model.json."""
    weights: bytes
    """model.onnx."""
    fingerprint: str
    """sha256 of model.json."""


def read_model_folder(folder: Path) -> ModelFolder:
    """Read and verify a model folder, or the current version of a store.

    Raises
    ------
    ModelError
        If a file is missing, the weights are not those of model.json, or model.json has an unknown key,
        a missing key or a value of the wrong kind.
    """
    folder = current_folder(folder)
    text = _read(folder / _SPEC)
    weights = _read(folder / WEIGHTS)
    spec = _decode(text, folder)
    _check_hash(folder / WEIGHTS, weights, spec.weights_sha256)
    return ModelFolder(spec, weights, hashlib.sha256(text).hexdigest())


def read_cases(folder: Path) -> bytes | None:
    """Read and verify cases.npz of a model folder, or of the current version of a store.

    Returns
    -------
    None where the model has none.

    Raises
    ------
    ModelError
        If model.json names it and it is missing or altered.
    """
    folder = current_folder(folder)
    expected = read_spec(folder).cases_sha256
    if expected is None:
        return None
    content = _read(folder / CASES)
    _check_hash(folder / CASES, content, expected)
    return content


def read_spec(folder: Path) -> ModelSpec:
    """Read model.json alone, of a model folder or of the current version of a store.

    Raises
    ------
    ModelError
        If it is missing or not what this version understands.
    """
    folder = current_folder(folder)
    return _decode(_read(folder / _SPEC), folder)


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


def _check_hash(path: Path, content: bytes, expected: str) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != expected:
        text = f"{path}: sha256 is {sha256}, {_SPEC} expects {expected}"
        raise ModelError(ReasonCode.INVALID_MODEL, text)


def _decode(text: bytes, folder: Path) -> ModelSpec:
    try:
        return msgspec.json.decode(text, type=ModelSpec)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(ReasonCode.INVALID_MODEL, f"{folder / _SPEC}: {error}") from error


def default_model_folder() -> Path:
    """Folder of the model that comes with the package: inside a wheel, or in a checkout's bundle."""
    package = Path(__file__).parent.parent
    shipped = package / "default_model"
    return shipped if shipped.is_dir() else package.parent / "bundle" / "models"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}); a model folder has {WEIGHTS} and {_SPEC}"
        raise ModelError(ReasonCode.INVALID_MODEL, text) from error
