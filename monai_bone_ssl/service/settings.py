"""serve.toml: read strictly, checked as a whole, secrets never inside."""

from __future__ import annotations

import os
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, field

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.report.evidence_objects import EvidenceKind

__all__ = [
    "DicomWebSettings",
    "PacsSettings",
    "PollSettings",
    "ReceiverSettings",
    "ReportRoute",
    "Settings",
    "StatusSettings",
    "TlsSettings",
    "ledger_url",
    "load_settings",
    "read_secret",
]

Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
#: 1 to 16 printable characters, no backslash, no space at either end (DICOM PS3.5, VR AE).
AETitle = Annotated[str, Meta(pattern=r"^(?! )[ -\[\]-~]{1,16}(?<! )$")]


class ReportRoute(StrEnum):
    """Way by which reports leave."""

    C_STORE = "c-store"
    STOW_RS = "stow-rs"


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that refuse unknown keys."""


class TlsSettings(_Strict, frozen=True, kw_only=True):
    """TLS for receiving or for sending by DIMSE, from PEM files."""

    certificate: Path | None = None
    """Own certificate chain; a receiver needs one."""
    key: Path | None = None
    """Private key of the certificate."""
    ca: Path | None = None
    """Authority of the other side's certificates; a receiver with this setting demands one of senders."""


class ReceiverSettings(_Strict, frozen=True, kw_only=True):
    """Receiving by C-STORE."""

    ae_title: AETitle
    """AE title of the node; associations that call another title are rejected."""
    calling_ae_titles: Annotated[tuple[AETitle, ...], Meta(min_length=1)]
    """AE titles that may send; any other association is rejected."""
    host: str = "127.0.0.1"
    """Address to listen at."""
    port: Port = 11112
    """TCP port to listen at."""
    max_associations: Count = 20
    """Largest number of associations at a time; others are rejected as transient, and senders try again."""
    max_associations_per_host: Count = 10
    """Largest number of associations at a time from one address."""
    max_waiting: Annotated[int, Meta(ge=1, le=400)] = 64
    """Largest number of connections without an association; one more, and the address with most of them loses
    its oldest."""
    association_seconds: Seconds = 10.0
    """Longest time for the handshake of TLS, and again for the request for an association."""
    idle_seconds: Seconds = 60.0
    """Longest silence in an association, and longest time for one PDU."""
    object_seconds: Seconds = 600.0
    """Longest time for one image."""
    max_object_mb: Count = 512
    """Largest image, in megabytes; larger ones are refused (C000)."""
    max_pdu_bytes: Annotated[int, Meta(ge=4096, le=1 << 20)] = 1 << 17
    """Maximum PDU length, in bytes, that is negotiated; a longer PDU ends the association."""
    max_association_pdu_bytes: Annotated[int, Meta(ge=4096, le=1 << 20)] = 1 << 18
    """Longest PDU, in bytes, before there is an association."""
    tls: TlsSettings | None = None


class PacsSettings(_Strict, frozen=True, kw_only=True):
    """PACS that reports are sent to by C-STORE."""

    host: str
    """Address of the PACS."""
    port: Port
    """TCP port of the PACS."""
    ae_title: AETitle
    """AE title of the PACS."""
    calling_ae_title: AETitle = "BONESSL"
    """AE title that the node sends under."""
    tls: TlsSettings | None = None


class DicomWebSettings(_Strict, frozen=True, kw_only=True):
    """DICOMweb server that studies are fetched from, and that reports may be stored in."""

    url: Annotated[str, Meta(pattern="^https?://[^@]+$")]
    """Address of the server, without credentials."""
    username: str | None = None
    """User name for HTTP Basic login."""
    password_file: Path | None = None
    """File with the password. It is read at every request, as the token's is, so that a secret may change."""
    token_file: Path | None = None
    """File with a bearer token."""
    ca: Path | None = None
    """PEM file with the authority of the server's certificate; by default the system's authorities."""
    timeout_seconds: Seconds = 30.0
    """Longest time to wait for the server."""


class PollSettings(_Strict, frozen=True, kw_only=True):
    """Studies to fetch from the DICOMweb server."""

    every_seconds: Seconds = 30.0
    """Time between two queries for new studies."""
    modalities: Annotated[tuple[str, ...], Meta(min_length=1)] = ("CR", "DX")
    """Modalities (ModalitiesInStudy) whose studies are fetched."""
    lookback_days: Annotated[int, Meta(ge=0)] = 1
    """Number of days before today whose studies are fetched too."""


class StatusSettings(_Strict, frozen=True, kw_only=True):
    """Health and metrics over HTTP."""

    host: str = "127.0.0.1"
    """Address to listen at."""
    port: Port = 8080
    """TCP port to listen at."""
    max_connections: Count = 16
    """Largest number of connections; one more, and the address with most of them loses its oldest."""
    timeout_seconds: Seconds = 5.0
    """Longest silence of a connection."""


class Settings(_Strict, frozen=True, kw_only=True):
    """Content of serve.toml."""

    spool: Path
    """Folder for images, reports and, unless another is named, the ledger. Replicas share the folder."""
    send: ReportRoute
    confirm: bool = True
    """Whether to ask [dicomweb], where it is set up, if it has the report after it was sent."""
    receiver: ReceiverSettings | None = None
    pacs: PacsSettings | None = None
    dicomweb: DicomWebSettings | None = None
    poll: PollSettings | None = None
    status: StatusSettings = field(default_factory=StatusSettings)
    replica: str = field(default_factory=socket.gethostname)
    """Name of this process in the ledger, the same after a restart."""
    evidence: tuple[EvidenceKind, ...] = ()
    """Kinds of objects to send beside each report; the PACS has to take them."""
    model: Path | None = None
    """Model folder; by default the model that comes with the package."""
    ledger_url_file: Path | None = None
    """File with an SQLAlchemy URL, as ``postgresql+pg8000://user:password@host/database``."""
    quiet_seconds: Seconds = 60.0
    """Time without a new image after which a study is complete."""
    keep_days: Annotated[float, Meta(ge=0)] = 7.0
    """Days for which images and reports stay after their study ended, for images that come late."""
    keep_study_days: Annotated[float, Meta(ge=0)] = 365.0
    """Days for which a study stays in the ledger after it ended, without its images."""
    reserve_mb: Annotated[int, Meta(ge=0)] = 500
    """Megabytes to leave free on the disk: images that would take more are refused."""
    lease_seconds: Seconds = 60.0
    """Time of silence after which a replica loses its studies to the others."""
    retry_seconds: Seconds = 2.0
    """Pause after the first failure; each further failure doubles the pause."""
    retry_limit_seconds: Seconds = 300.0
    """Longest pause."""
    analysis_limit_seconds: Seconds = 600.0
    """Time that the analysis of a study may take; one that takes longer is ended, and the study fails."""
    stop_seconds: Seconds = 20.0
    """Time that open associations and the running study may take after SIGTERM. The process ends within 5
    seconds more, whatever hangs; what it leaves, the next start takes up."""


def load_settings(path: Path) -> Settings:
    """Read and check serve.toml.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the file cannot be read, has an unknown key, lacks a key, or contradicts
        itself.
    """
    try:
        settings = msgspec.toml.decode(path.read_bytes(), type=Settings, dec_hook=_path)
    except OSError as error:
        raise _invalid(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid(f"{path}: {error}") from error
    for problem in _contradictions(settings):
        raise _invalid(f"{path}: {problem}")
    return settings


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"expected a {kind.__name__}")


def _contradictions(settings: Settings) -> list[str]:
    """Settings that do not fit together, in words, the most basic first."""
    web, receiver, poll = settings.dicomweb, settings.receiver, settings.poll
    checks = [
        (receiver is None and poll is None, "expected [receiver], [poll] or both: where images come from"),
        (poll is not None and web is None, "[poll] expects [dicomweb]: where to fetch from"),
        (settings.send is ReportRoute.C_STORE and settings.pacs is None, 'send = "c-store" expects [pacs]'),
        (settings.send is ReportRoute.STOW_RS and web is None, 'send = "stow-rs" expects [dicomweb]'),
        (
            poll is not None and poll.every_seconds >= settings.quiet_seconds,
            "expected quiet_seconds above poll.every_seconds: a study still growing would look complete",
        ),
        (
            web is not None and web.token_file is not None and web.username is not None,
            "dicomweb: expected token_file or username, not both",
        ),
        (
            web is not None and web.password_file is not None and web.username is None,
            "dicomweb: password_file expects username",
        ),
        (
            web is not None and _has_credentials(web) and not _is_private(web.url),
            "dicomweb: expected an https:// url, because everybody on the way can read a password or token",
        ),
        (
            receiver is not None
            and receiver.tls is not None
            and None in (receiver.tls.certificate, receiver.tls.key),
            "receiver.tls expects certificate and key",
        ),
    ]
    return [text for wrong, text in checks if wrong]


def _has_credentials(web: DicomWebSettings) -> bool:
    return (web.username or web.token_file) is not None or "BONE_SSL_DICOMWEB_TOKEN" in os.environ


def _is_private(url: str) -> bool:
    """Whether nobody else can read what is sent: by TLS, or because it stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def ledger_url(settings: Settings) -> str:
    """URL of the ledger: from its file, else from ``BONE_SSL_LEDGER_URL``, else SQLite in the spool.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the file cannot be read.
    """
    default = f"sqlite:///{settings.spool.absolute() / 'ledger.sqlite'}"
    return read_secret(settings.ledger_url_file, "BONE_SSL_LEDGER_URL") or default


def read_secret(file: Path | None, variable: str) -> str | None:
    """Read a secret from its file or, where no file is named, from the environment.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the file cannot be read.
    """
    if file is None:
        return os.environ.get(variable)
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"{file}: expected a readable file with a secret") from error


def _invalid(text: str) -> ConfigError:
    return ConfigError(ReasonCode.INVALID_CONFIG, text)
