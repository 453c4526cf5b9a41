"""TLS 1.2 or later for DIMSE, in and out; certificates are always checked."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.service.settings import TlsSettings

__all__ = ["client_tls", "server_tls"]


def server_tls(settings: TlsSettings) -> ssl.SSLContext:
    """TLS for receiving; with ``ca``, a sender without a certificate of this authority is turned away."""
    with _tls_files(settings):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if settings.ca is not None:
            context.load_verify_locations(settings.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return _with_own_certificate(context, settings)


def client_tls(settings: TlsSettings) -> ssl.SSLContext:
    """TLS for sending; ``ca`` replaces the system's authorities. The host's name is checked."""
    with _tls_files(settings):
        return _with_own_certificate(ssl.create_default_context(cafile=settings.ca), settings)


def _with_own_certificate(context: ssl.SSLContext, settings: TlsSettings) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.certificate is not None:
        context.load_cert_chain(settings.certificate, settings.key)
    return context


@contextmanager
def _tls_files(settings: TlsSettings) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(f) for f in (settings.certificate, settings.key, settings.ca) if f is not None)
        text = f"{files}: expected PEM files for TLS ({error.strerror or error})"
        raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
