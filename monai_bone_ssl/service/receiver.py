"""DIMSE in: images come by C-STORE, over TLS where it is set up."""

from __future__ import annotations

import logging
import sys
import time
from enum import StrEnum
from threading import Thread
from typing import NamedTuple, cast

from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import AllStoragePresentationContexts

from monai_bone_ssl.dicom.decoding import TRANSFER_SYNTAXES
from monai_bone_ssl.errors import BoneSSLError, ConfigError, CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.service.events import log_event
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.settings import ReceiverSettings
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.status import ServiceMetrics
from monai_bone_ssl.service.tls import server_tls
from monai_bone_ssl.service.upper_layer import BoundedServer, Cut, Peer, peer_of, received_file

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


class _Answer(NamedTuple):
    """Result, source and diagnostic of an A-ASSOCIATE-RJ (DICOM PS3.8, 9.3.4)."""

    result: int
    source: int
    diagnostic: int


class _Rejection(StrEnum):
    """Why an association is rejected; the values are those of the log and of the metric."""

    CALLED_AE_TITLE = "called_ae_title"
    CALLING_AE_TITLE = "calling_ae_title"
    TOO_MANY_ASSOCIATIONS = "too_many_associations"


_ANSWERS = {
    _Rejection.CALLED_AE_TITLE: _Answer(1, 1, 7),
    _Rejection.CALLING_AE_TITLE: _Answer(1, 1, 3),
    _Rejection.TOO_MANY_ASSOCIATIONS: _Answer(2, 3, 2),
}


class Receiver:
    """A listening application entity; an image that it acknowledges is on disk and in the ledger.

    Any kind of image is taken, so that a study is complete. Reports and other documents are not: a PACS that
    forwards everything would send our own reports back to us.

    Parameters
    ----------
    settings
        Address to listen on, the senders to listen to, and what they may cost.
    spool
        Place of images on their way in.
    intake
        Takes what is received.
    metrics
        Counts what is refused.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the address cannot be listened on or a TLS file cannot be used.
    """

    def __init__(
        self, settings: ReceiverSettings, spool: Spool, intake: Intake, metrics: ServiceMetrics
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._metrics = metrics
        tls = None if settings.tls is None else server_tls(settings.tls)
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_C_STORE, self._store),
        ]
        try:
            self._server = BoundedServer(_entity(settings), settings, tls, handlers, spool, self._cut)
        except OSError as error:
            text = f"{settings.host}:{settings.port}: cannot be listened on ({error.strerror})"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text) from error
        self._thread = Thread(target=self._server.serve_forever, name="receive", daemon=True)
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Accept no new association, let open ones end for some seconds of patience, then cut them."""
        self._server.stop()
        connections = self._server.connections
        deadline = time.monotonic() + patience
        while connections.count_associations() and time.monotonic() < deadline:
            time.sleep(0.05)
        connections.cut_all()

    # --- what a peer asks for -----------------------------------------------------------------------------

    def _requested(self, event: evt.Event) -> None:
        request = cast(A_ASSOCIATE, event.assoc.requestor.primitive)
        rejection = self._rejection(request, peer_of(event))
        if rejection is None:
            return
        self._metrics.turned_away(rejection)
        log_event(
            "association_rejected",
            level=logging.WARNING,
            reason=rejection,
            peer=peer_of(event).name,
            called_ae_title=request.called_ae_title,
        )
        event.assoc.acse.send_reject(*_ANSWERS[rejection])
        event.assoc.kill()  # which waits until the answer is on its way

    def _rejection(self, request: A_ASSOCIATE, peer: Peer) -> _Rejection | None:
        if request.called_ae_title.strip() != self._settings.ae_title:
            return _Rejection.CALLED_AE_TITLE
        if request.calling_ae_title.strip() not in self._settings.calling_ae_titles:
            return _Rejection.CALLING_AE_TITLE
        return None if peer.begin_association() else _Rejection.TOO_MANY_ASSOCIATIONS

    def _accepted(self, event: evt.Event) -> None:
        """Tell of the kinds of objects that a sender would like to send, and may not."""
        refused = [str(context.abstract_syntax) for context in event.assoc.rejected_contexts]
        if refused:
            log_event(
                "contexts_refused", peer=peer_of(event).name, sop_classes=" ".join(dict.fromkeys(refused))
            )

    def _store(self, event: evt.Event) -> int:
        try:
            self._intake.take(received_file(event), peer_of(event).name)
        except (CorruptImage, UnsupportedImage) as error:
            return self._refuse(event, error, _CANNOT_UNDERSTAND)
        except BoneSSLError as error:
            return self._refuse(event, error, _OUT_OF_RESOURCES)
        self._metrics.success("receive")
        return _SUCCESS

    def _refuse(self, event: evt.Event, error: BoneSSLError, status: int) -> int:
        self._metrics.error("receive", error.code)
        self._metrics.turned_away(error.code)
        log_event(
            "refused",
            level=logging.WARNING,
            reason=error.code,
            status=f"{status:04X}",
            peer=peer_of(event).name,
        )
        return status

    def _cut(self, reason: Cut, peer: str, detail: str | None) -> None:
        self._metrics.turned_away(reason)
        log_event("connection_cut", level=logging.WARNING, reason=reason, peer=peer, detail=detail)


def _entity(settings: ReceiverSettings) -> AE:
    entity = AE(settings.ae_title)
    entity.maximum_pdu_size = settings.max_pdu_bytes
    entity.acse_timeout = settings.association_seconds
    entity.network_timeout = entity.dimse_timeout = settings.idle_seconds
    # A second wall: pynetdicom goes on where a handler of EVT_REQUESTED fails.
    entity.require_called_aet = True
    entity.require_calling_aet = list(settings.calling_ae_titles)
    entity.maximum_associations = sys.maxsize  # pynetdicom counts connections without an association too
    entity.add_supported_context(_VERIFICATION)
    for sop_class in _IMAGE_CLASSES:
        entity.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
    return entity
