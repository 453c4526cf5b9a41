"""result.json (contract C3): one entry for every input file, one for every study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from monai_bone_ssl import __version__
from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.findings import (
    Answered,
    BodyPart,
    Decision,
    ImageFinding,
    Peak,
    Reason,
    Refused,
    Region,
    Status,
    StudyFinding,
)
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.notes import Note

__all__ = [
    "EXIT_FAULT",
    "EXIT_INCOMPLETE",
    "EXIT_NOTHING_ELIGIBLE",
    "EXIT_OK",
    "EXIT_STOPPED",
    "EXIT_USAGE",
    "RESULT_SCHEMA_VERSION",
    "SOFTWARE_NAME",
    "ImageEntry",
    "ModelIdentity",
    "ResultFile",
    "Results",
    "SoftwareIdentity",
    "exit_code",
    "read_results",
    "result_json",
]

#: Version of result.json.
RESULT_SCHEMA_VERSION = 2
SOFTWARE_NAME = "monai_bone_ssl"

EXIT_OK = 0
EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_NOTHING_ELIGIBLE = 3
EXIT_INCOMPLETE = 4
#: Stopped by Ctrl+C or SIGTERM: 128 and the number of SIGINT, as shells have it.
EXIT_STOPPED = 130


class ModelIdentity(msgspec.Struct, frozen=True):
    """Model that made the findings."""

    name: str
    """Name of the model."""
    version: str
    """Version of the model."""
    sha256: str
    """SHA-256 of the model's weights, in hexadecimal digits."""

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """Identity of the model that a specification describes."""
        return cls(spec.name, spec.version, spec.weights_sha256)


class SoftwareIdentity(msgspec.Struct, frozen=True):
    """Program that made the findings."""

    name: str = SOFTWARE_NAME
    """Name of the program."""
    version: str = __version__
    """Version of the program."""


@dataclass(frozen=True)
class Results:
    """Findings of one run."""

    model: ModelIdentity
    images: Sequence[ImageFinding]
    """Findings of the input files, one each."""
    studies: Sequence[StudyFinding]


class ImageEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``images`` in result.json (contract C3)."""

    path: str
    """Path of the file, as it was given or found under a given folder."""
    sop_instance_uid: str | None
    """SOP Instance UID of the image; None where the file has none that can be read."""
    study_instance_uid: str | None
    """Study Instance UID of the image; None where the file has none that can be read."""
    status: Status
    reason: Reason | None
    """Why the image was not analysed; None where it was."""
    body_part: BodyPart | None
    """Body part; of an image that was not analysed, as far as it was known then."""
    probability: float | None
    """Calibrated probability of the target, 0 to 1; None where the image was not analysed."""
    decision: Decision | None
    """Decision at the body part's operating points; None where the image was not analysed."""
    peak: Peak | None
    """Centre of the patch with the largest evidence; None where the image was not analysed."""
    regions: tuple[Region, ...]
    """Regions that show signs of the target, the highest probability first; empty where there are none."""
    notes: tuple[Note, ...]
    """Faults of the file that were put right while it was read."""
    seconds: float
    """Time spent on the file, in seconds."""

    @classmethod
    def of(cls, finding: ImageFinding) -> Self:
        """The entry of one finding."""
        fields: dict[str, Any] = {name: getattr(finding, name, None) for name in cls.__struct_fields__}
        return cls(**fields | {"regions": getattr(finding, "regions", ())})

    def finding(self) -> ImageFinding:
        """The finding of this entry.

        Raises
        ------
        msgspec.ValidationError
            Where the entry is neither a whole answer nor a whole refusal.
        """
        kind: type[ImageFinding] = Answered if self.status is Status.ANALYSED else Refused
        finding: ImageFinding = msgspec.convert(self, kind, from_attributes=True)
        if ImageEntry.of(finding) != self:
            raise msgspec.ValidationError(f"an image that is {self.status} has no answer and reason at once")
        return finding


class ResultFile(msgspec.Struct, frozen=True, kw_only=True):
    """Content of result.json."""

    schema_version: int = RESULT_SCHEMA_VERSION
    """Version of the layout of result.json."""
    model: ModelIdentity
    software: SoftwareIdentity = SoftwareIdentity()
    images: Sequence[ImageEntry]
    studies: Sequence[StudyFinding]


def result_json(results: Results) -> bytes:
    """Content of result.json: strict JSON, indented, UTF-8."""
    images = [ImageEntry.of(image) for image in results.images]
    content = ResultFile(model=results.model, images=images, studies=results.studies)
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def read_results(path: Path) -> Results:
    """Read a result.json back.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the file is missing, damaged or of another version.
    """
    try:
        content = msgspec.json.decode(path.read_bytes(), type=ResultFile)
        images = [entry.finding() for entry in content.images]
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}), expected what bone-ssl analyze wrote"
        raise ConfigError(ReasonCode.INVALID_DATA, text) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(ReasonCode.INVALID_DATA, f"{path}: {error}") from error
    if content.schema_version != RESULT_SCHEMA_VERSION:
        text = f"{path}: schema_version {content.schema_version}, expected {RESULT_SCHEMA_VERSION}"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    return Results(content.model, images, content.studies)


def exit_code(results: Results) -> int:
    """Exit code of a finished run (contract C2)."""
    statuses = {image.status for image in results.images}
    if statuses == {Status.ANALYSED}:
        return EXIT_OK
    if Status.ANALYSED not in statuses and Status.FAILED not in statuses:
        return EXIT_NOTHING_ELIGIBLE
    return EXIT_INCOMPLETE
