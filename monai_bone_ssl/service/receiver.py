"""DIMSE in: images come by C-STORE, over TLS where it is set up."""

from __future__ import annotations

import logging
import time

from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts

from monai_bone_ssl.dicom.decoding import TRANSFER_SYNTAXES
from monai_bone_ssl.errors import BoneSSLError, ConfigError, CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.settings import ReceiverSettings
from monai_bone_ssl.service.status import ServiceMetrics
from monai_bone_ssl.service.tls import server_tls

__all__ = ["Receiver"]

_VERIFICATION = "1.2.840.10008.1.1"  # C-ECHO (DICOM PS3.4, annex A)
# Status codes of C-STORE (DICOM PS3.4 table B.2-1).
_SUCCESS = 0x0000
_OUT_OF_RESOURCES = 0xA700
_CANNOT_UNDERSTAND = 0xC000

_IMAGE_CLASSES = [
    context.abstract_syntax
    for context in AllStoragePresentationContexts
    if context.abstract_syntax is not None and "Image Storage" in context.abstract_syntax.name
]


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
                ssl_context=None if settings.tls is None else server_tls(settings.tls),
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
            self._intake.store(event.encoded_dataset(), event.assoc.requestor.ae_title)
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
