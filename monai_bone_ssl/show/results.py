"""result.json (contract C3): one entry for every input file, one for every study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from monai_bone_ssl import __version__
from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.findings import ImageFinding, Status, StudyFinding
from monai_bone_ssl.model.spec import ModelSpec

__all__ = [
    "EXIT_FAULT",
    "EXIT_INCOMPLETE",
    "EXIT_NOTHING_ELIGIBLE",
    "EXIT_OK",
    "EXIT_USAGE",
    "SCHEMA_VERSION",
    "SOFTWARE_NAME",
    "ModelIdentity",
    "Results",
    "SoftwareIdentity",
    "exit_code",
    "read_results",
    "result_json",
]

SCHEMA_VERSION = 1
SOFTWARE_NAME = "monai_bone_ssl"

EXIT_OK = 0
EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_NOTHING_ELIGIBLE = 3
EXIT_INCOMPLETE = 4


class ModelIdentity(msgspec.Struct, frozen=True):
    """Which model; ``sha256`` is that of its weights."""

    name: str
    version: str
    sha256: str

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """Identity of a model folder's model."""
        return cls(spec.name, spec.version, spec.weights_sha256)


class SoftwareIdentity(msgspec.Struct, frozen=True):
    """Which program."""

    name: str = SOFTWARE_NAME
    version: str = __version__


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The content of result.json."""

    schema_version: int = SCHEMA_VERSION
    model: ModelIdentity
    software: SoftwareIdentity = SoftwareIdentity()
    images: Sequence[ImageFinding]
    studies: Sequence[StudyFinding]


def result_json(results: Results) -> bytes:
    """Strict JSON, indented, UTF-8."""
    return msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n"


def read_results(path: Path) -> Results:
    """Read a result.json back.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where it is missing, damaged or of another version.
    """
    try:
        results = msgspec.json.decode(path.read_bytes(), type=Results)
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}), expected what bone-ssl analyze wrote"
        raise ConfigError(ReasonCode.INVALID_DATA, text) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(ReasonCode.INVALID_DATA, f"{path}: {error}") from error
    if results.schema_version != SCHEMA_VERSION:
        text = f"{path}: schema_version {results.schema_version}, expected {SCHEMA_VERSION}"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    return results


def exit_code(results: Results) -> int:
    """Exit code of a finished run (contract C2)."""
    statuses = {image.status for image in results.images}
    if statuses == {Status.ANALYSED}:
        return EXIT_OK
    if Status.ANALYSED not in statuses and Status.FAILED not in statuses:
        return EXIT_NOTHING_ELIGIBLE
    return EXIT_INCOMPLETE
