"""TLS for both sides of DIMSE: TLS 1.2 or later, certificates always checked."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.service.settings import TlsSettings

__all__ = ["client_context", "server_context"]


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """For receiving; with ``ca``, a sender without a certificate it signed is turned away.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where a file cannot be used.
    """
    with _named(settings):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _add_own(context, settings)
        if settings.ca is not None:
            context.load_verify_locations(settings.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """For sending; ``ca`` replaces the system's authorities. The host's name is checked.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where a file cannot be used.
    """
    with _named(settings):
        context = ssl.create_default_context(cafile=settings.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _add_own(context, settings)
        return context


def _add_own(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if settings.certificate is not None:
        context.load_cert_chain(settings.certificate, settings.key)


@contextmanager
def _named(settings: TlsSettings) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(f) for f in (settings.certificate, settings.key, settings.ca) if f is not None)
        text = f"{files}: expected PEM files for TLS ({error.strerror or error})"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
