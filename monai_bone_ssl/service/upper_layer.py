"""pynetdicom's receiving side, with bounds on what a peer may cost.

pynetdicom has no settings for these, so its own classes are extended: the handshake of TLS leaves the loop
that accepts connections; reading a PDU has a limit of length and of time; a data set goes to a file as it
comes; a peer that sends what pynetdicom cannot handle ends its own association and nothing else. What this
relies on inside pynetdicom is pinned by tests.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from collections.abc import Callable
from enum import StrEnum
from queue import Queue
from socketserver import BaseServer
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, DIMSEMessage
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import StateMachine
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import (
    AddressInformation,
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from monai_bone_ssl.errors import ReportError
from monai_bone_ssl.faults import WithoutMessage
from monai_bone_ssl.service.connections import BoundedPort, Connections, cut
from monai_bone_ssl.service.incoming import IncomingObject
from monai_bone_ssl.service.settings import ReceiverSettings
from monai_bone_ssl.service.spool import IncomingFile, Spool

__all__ = ["BoundedServer", "Cut", "OnCut", "Peer", "peer_of", "received_file"]

# Largest size of a command set, in bytes; those of Storage and Verification have a few hundred.
_MOST_COMMAND_BYTES = 1 << 14
_PIECE = 1 << 16  # bytes read at a time


class Cut(StrEnum):
    """Why a connection was ended from here; the values are those of the log and of the metric."""

    TOO_MANY_CONNECTIONS = "too_many_connections"
    TLS_HANDSHAKE = "tls_handshake"
    NO_ASSOCIATION_REQUEST = "no_association_request"
    PDU_LENGTH = "pdu_length"
    SLOW_PDU = "slow_pdu"
    SLOW_OBJECT = "slow_object"
    COMMAND_LENGTH = "command_length"
    UNEXPECTED_MESSAGE = "unexpected_message"
    MALFORMED = "malformed"
    IDLE = "idle"


#: Called with the reason, the name of the peer, and what else is known.
OnCut = Callable[[Cut, str, str | None], None]


class Peer:
    """The other side of one association.

    Parameters
    ----------
    association
        The association.
    connection
        Connection of the association.
    server
        The port.
    """

    def __init__(self, association: Association, connection: socket.socket, server: BoundedServer) -> None:
        self._association = association
        self._connection = connection
        self.server = server

    @property
    def name(self) -> str:
        """AE title, once the peer has told one, and address, for the log: ``CR1@10.0.0.7``."""
        requestor = self._association.requestor
        host = cast(AddressInformation, requestor.address_info).address
        return f"{requestor.primitive.calling_ae_title}@{host}" if requestor.primitive else host

    def begin_association(self) -> bool:
        """Count the connection as an association, if there is room for one."""
        settings = self.server.settings
        return self.server.connections.begin_association(
            self._connection, settings.max_associations, settings.max_associations_per_host
        )

    def cut(self, reason: Cut, detail: str | None = None) -> None:
        """Note that the association is ended from here."""
        self.server.on_cut(reason, self.name, detail)


def peer_of(event: evt.Event) -> Peer:
    """Give the peer of an event."""
    return cast(_Dimse, event.assoc.dimse).peer


def received_file(event: evt.Event) -> IncomingFile:
    """Give the file of a C-STORE, see :meth:`monai_bone_ssl.service.incoming.IncomingObject.finished`."""
    return cast(IncomingObject, event.request._dataset_file).finished()


class BoundedServer(BoundedPort, ThreadedAssociationServer):
    """A port that associations are requested at. Each connection has a thread of its own from the start.

    Parameters
    ----------
    ae
        Application entity with the contexts that are accepted.
    settings
        Address, and all limits.
    tls
        TLS, where the port has it.
    handlers
        Handlers of pynetdicom's events.
    spool
        Place of what is received.
    on_cut
        Told of each connection that is ended from here.

    Raises
    ------
    OSError
        Where the address cannot be listened on.
    """

    def __init__(
        self,
        ae: AE,
        settings: ReceiverSettings,
        tls: ssl.SSLContext | None,
        handlers: list[evt.EventHandlerType],
        spool: Spool,
        on_cut: OnCut,
    ) -> None:
        self.settings = settings
        self.spool = spool
        self.on_cut = on_cut
        self.connections = Connections(
            settings.max_waiting, lambda host: on_cut(Cut.TOO_MANY_CONNECTIONS, host, None)
        )
        address = (settings.host, settings.port)
        handlers = [*handlers, (evt.EVT_ABORTED, _aborted), (evt.EVT_CONN_CLOSE, _closed)]
        super().__init__(ae, address, settings.ae_title, ae.supported_contexts, tls, handlers, _Acceptor)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, without waiting for the peer."""
        connection, address = cast(socket.socket, self.socket).accept()
        if self.ssl_context is not None:
            connection = self.ssl_context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection from its first byte to its last, in its own thread."""
        try:
            if self._is_asked(request, client_address[0]):
                self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)

    def _is_asked(self, request: socket.socket, host: str) -> bool:
        """Shake hands and wait for the peer's first byte: only then it is worth an association's threads."""
        request.settimeout(self.settings.association_seconds)
        if isinstance(request, ssl.SSLSocket):
            try:
                request.do_handshake()
            except OSError as error:
                self.on_cut(Cut.TLS_HANDSHAKE, host, getattr(error, "reason", None) or type(error).__name__)
                return False
            if request.pending():
                return True
        if select.select([request], [], [], self.settings.association_seconds)[0]:
            return True
        self.on_cut(Cut.NO_ASSOCIATION_REQUEST, host, None)
        return False

    def stop(self) -> None:
        """Accept no more connections; those that are open stay."""
        BaseServer.shutdown(self)  # pynetdicom's own expects to have started the server
        self.server_close()


def _aborted(event: evt.Event) -> None:
    if event.assoc.dul.idle_timer_expired():  # starts again with the next event
        peer_of(event).cut(Cut.IDLE)


def _closed(event: evt.Event) -> None:
    _wake(event.assoc)


def _wake(association: Association) -> None:
    """Tell an association that waits for its request that none will come."""
    waiting: Queue[Any] = association.dul.to_user_queue
    waiting.put(None)


class _Acceptor(RequestHandler):
    server: BoundedServer

    def handle(self) -> None:
        """Run one association to its end, and end what is left of it."""
        association = self._create_association()
        peer = Peer(association, self.request, self.server)
        dul = association.dul
        dul.daemon = True
        dul.event_queue.get_nowait()  # "connected": the next line says it again
        dul.socket = _Socket(peer, association, self.request)
        dul.state_machine = _StateMachine(peer, dul)
        association.dimse = dimse = _Dimse(peer, association)
        association.start()
        association.join()
        dul.kill_dul()
        cut(self.request)
        if dul.is_alive():
            dul.join()
        dimse.close()


class _Socket(AssociationSocket):
    """Reads no more than one PDU may have, and no longer than one may take."""

    def __init__(self, peer: Peer, association: Association, connection: socket.socket) -> None:
        super().__init__(association, client_socket=connection)
        self._peer = peer

    def recv(self, nr_bytes: int) -> bytearray:
        """Read a number of bytes, or fewer where the peer closes the connection.

        Raises
        ------
        OSError
            Where that is too much, takes too long, or the connection is lost: all that pynetdicom knows of.
        """
        settings = self._peer.server.settings
        if self.assoc.is_established:
            most, seconds = settings.max_pdu_bytes, settings.idle_seconds
        else:
            most, seconds = settings.max_association_pdu_bytes, settings.association_seconds
        if nr_bytes > most:
            self._peer.cut(Cut.PDU_LENGTH, f"{nr_bytes} bytes")
            raise OSError(errno.EMSGSIZE, "a PDU is too long")
        connection = cast(socket.socket, self.socket)
        try:
            return self._read(connection, nr_bytes, time.monotonic() + seconds)
        except TimeoutError:
            self._peer.cut(Cut.SLOW_PDU)
            raise
        finally:
            connection.settimeout(seconds)  # which the next answer may take

    @staticmethod
    def _read(connection: socket.socket, nr_bytes: int, deadline: float) -> bytearray:
        content = bytearray()
        while missing := nr_bytes - len(content):
            connection.settimeout(max(1e-3, deadline - time.monotonic()))
            piece = connection.recv(min(missing, _PIECE))
            if not piece:  # pynetdicom sees that something is missing
                break
            content += piece
        return content


class _StateMachine(StateMachine):
    """Ends an association whose peer sends what pynetdicom cannot handle."""

    def __init__(self, peer: Peer, dul: DULServiceProvider) -> None:
        super().__init__(dul)
        self._peer = peer

    def do_action(self, event: str) -> None:
        """Do what an event asks for in the current state (DICOM PS3.8, table 9-10)."""
        try:
            with WithoutMessage():
                super().do_action(event)
        except ReportError as error:
            self._peer.cut(Cut.MALFORMED, error.text)
            self.dul.kill_dul()
            _wake(self.dul.assoc)


class _Dimse(DIMSEServiceProvider):
    """Takes one request at a time, of bounded size, and its data set to the spool."""

    def __init__(self, peer: Peer, association: Association) -> None:
        super().__init__(association)
        self.peer = peer
        self._incoming: IncomingObject | None = None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take a part of a message."""
        if self.message is None:
            if self.msg_queue.qsize() or (self._incoming is not None and self._incoming.is_open):
                self._abort(Cut.UNEXPECTED_MESSAGE)  # asynchronous operations were not negotiated
                return
            self.message = DIMSEMessage()
            self._incoming = self._begin(self.message)
        message, incoming = self.message, cast(IncomingObject, self._incoming)
        super().receive_primitive(primitive)
        if message.encoded_command_set.tell() > _MOST_COMMAND_BYTES:
            self._abort(Cut.COMMAND_LENGTH)
        elif type(message) not in (DIMSEMessage, C_ECHO_RQ, C_STORE_RQ):
            self._abort(Cut.UNEXPECTED_MESSAGE)
        elif incoming.seconds > self.peer.server.settings.object_seconds:
            self._abort(Cut.SLOW_OBJECT)

    def _begin(self, message: DIMSEMessage) -> IncomingObject:
        """Let the data set of a message go to the spool, where pynetdicom would have a temporary file."""
        server = self.peer.server
        incoming = IncomingObject(message, self.assoc, server.spool, server.settings.max_object_mb << 20)
        message._data_set_file = cast(Any, incoming)
        return incoming

    def close(self) -> None:
        """Remove what was not received to its end."""
        if self._incoming is not None:
            self._incoming.close()

    def _abort(self, reason: Cut) -> None:
        self.peer.cut(reason)
        self.dul.event_queue.put("Evt19")  # an invalid PDU (DICOM PS3.8, table 9-10): A-ABORT
