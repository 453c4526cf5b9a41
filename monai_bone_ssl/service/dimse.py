"""DIMSE, in and out: images come by C-STORE, reports leave by C-STORE; both over TLS where it is set up."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext

from monai_bone_ssl.dicom.decoding import TRANSFER_SYNTAXES
from monai_bone_ssl.errors import (
    BoneSSLError,
    ConfigError,
    CorruptImage,
    ReasonCode,
    ServiceError,
    UnsupportedImage,
)
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.settings import PacsSettings, ReceiverSettings, TlsSettings
from monai_bone_ssl.service.status import ServiceMetrics

__all__ = ["CStoreSender", "Receiver"]

_VERIFICATION = "1.2.840.10008.1.1"  # C-ECHO (DICOM PS3.4, annex A)
# Status codes of C-STORE (DICOM PS3.4 table B.2-1).
_SUCCESS = 0x0000
_OUT_OF_RESOURCES = 0xA700
_CANNOT_UNDERSTAND = 0xC000
# Answers of a PACS that keeps the object: also with coercion, discarded elements, or another mismatch.
_STORED = frozenset({_SUCCESS, 0xB000, 0xB006, 0xB007})

_IMAGE_CLASSES = [
    context.abstract_syntax
    for context in AllStoragePresentationContexts
    if context.abstract_syntax is not None and "Image Storage" in context.abstract_syntax.name
]
_REPORT_SYNTAXES: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_TIMEOUT_SECONDS = 30


class Receiver:
    """A listening application entity; an image that it acknowledges is on disk and in the ledger.

    Any kind of image is taken, so that a study is complete. Reports and other documents are not: a PACS that
    forwards everything would send our own reports back to us.

    Parameters
    ----------
    settings
        Address to listen on, and the senders to listen to.
    intake
        Takes what is received.
    metrics
        Counts what is refused.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the address cannot be listened on or a TLS file cannot be used.
    """

    def __init__(self, settings: ReceiverSettings, intake: Intake, metrics: ServiceMetrics) -> None:
        self._intake = intake
        self._metrics = metrics
        self._ae = AE(settings.ae_title)
        self._ae.require_calling_aet = list(settings.calling_ae_titles)
        self._ae.require_called_aet = True
        self._ae.maximum_associations = settings.max_associations
        self._ae.add_supported_context(_VERIFICATION)
        for sop_class in _IMAGE_CLASSES:
            self._ae.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
        try:
            self._server = self._ae.start_server(
                (settings.host, settings.port),
                block=False,
                ssl_context=None if settings.tls is None else _server_tls(settings.tls),
                evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_REJECTED, self._rejected)],
            )
        except OSError as error:
            text = f"{settings.host}:{settings.port}: cannot be listened on ({error.strerror})"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error

    def stop(self, patience: float) -> None:
        """Accept no new association, let open ones end for some seconds of patience, then abort them."""
        if self._server is not None:
            self._server.shutdown()
        deadline = time.monotonic() + patience
        while self._ae.active_associations and time.monotonic() < deadline:
            time.sleep(0.05)
        self._ae.shutdown()

    def _store(self, event: evt.Event) -> int:
        try:
            self._intake.store(event.encoded_dataset())
        except (CorruptImage, UnsupportedImage) as error:
            return self._refuse(error, _CANNOT_UNDERSTAND)
        except BoneSSLError as error:
            return self._refuse(error, _OUT_OF_RESOURCES)
        return _SUCCESS

    def _refuse(self, error: BoneSSLError, status: int) -> int:
        self._metrics.error("receive", error.code)
        log_event("refused", level=logging.WARNING, reason=error.code, status=f"{status:04X}")
        return status

    def _rejected(self, _: evt.Event) -> None:
        log_event("association_rejected", level=logging.WARNING)


class CStoreSender:
    """A way to the PACS by C-STORE, with one association a study.

    Parameters
    ----------
    settings
        The PACS.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where a TLS file cannot be used.
    """

    def __init__(self, settings: PacsSettings) -> None:
        self._settings = settings
        self._tls = None if settings.tls is None else (_client_tls(settings.tls), settings.host)
        self._ae = AE(settings.calling_ae_title)
        self._ae.connection_timeout = self._ae.acse_timeout = _TIMEOUT_SECONDS
        self._ae.dimse_timeout = self._ae.network_timeout = _TIMEOUT_SECONDS

    def send(self, objects: Sequence[Dataset]) -> None:
        """Send objects, see :class:`monai_bone_ssl.service.worker.Sender`."""
        classes = dict.fromkeys(str(dataset.SOPClassUID) for dataset in objects)
        association = self._associate([build_context(uid, _REPORT_SYNTAXES) for uid in classes])
        try:
            for dataset in objects:
                self._store(dataset, association)
        finally:
            association.release()

    def _associate(self, contexts: list[PresentationContext]) -> Association:
        pacs = self._settings
        association = self._ae.associate(
            pacs.host, pacs.port, contexts, ae_title=pacs.ae_title, tls_args=self._tls
        )
        if association.is_established:
            return association
        if association.is_rejected or association.rejected_contexts:
            text = f"{pacs.ae_title}: rejects the association, or all kinds of objects in it"
            raise ServiceError(ReasonCode.PACS_REFUSED, text)
        raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{pacs.ae_title}: no association")

    def _store(self, dataset: Dataset, association: Association) -> None:
        title = self._settings.ae_title
        try:
            status = association.send_c_store(dataset)
        except ValueError as error:  # no presentation context was accepted for this class
            text = f"{title}: does not take {dataset.SOPClassUID.name}"
            raise ServiceError(ReasonCode.PACS_REFUSED, text) from error
        except RuntimeError as error:  # the association has ended since the last object
            raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{title}: association lost") from error
        if "Status" not in status:
            raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{title}: no answer to C-STORE")
        if status.Status not in _STORED:
            raise ServiceError(ReasonCode.PACS_REFUSED, f"{title}: C-STORE answered {status.Status:04X}")


# --- TLS 1.2 or later, certificates always checked --------------------------------------------------------


def _server_tls(settings: TlsSettings) -> ssl.SSLContext:
    """TLS for receiving; with ``ca``, a sender without a certificate of this authority is turned away."""
    with _tls_files(settings):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if settings.ca is not None:
            context.load_verify_locations(settings.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return _with_own_certificate(context, settings)


def _client_tls(settings: TlsSettings) -> ssl.SSLContext:
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
