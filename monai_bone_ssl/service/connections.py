"""A port with a bounded number of connections, so that no host can keep the others out."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from socketserver import TCPServer, ThreadingMixIn
from threading import Condition
from typing import Any

from monai_bone_ssl.service.events import log_fault

__all__ = ["BoundedPort", "Connections", "cut"]

_MOMENT_SECONDS = 1.0


@dataclass
class _Connection:
    host: str
    has_association: bool = False
    is_cut: bool = False


class Connections:
    """Who is connected to a port.

    A connection waits until it has proved that it wants something, in DICOM by an association. Where too many
    wait, the host with most of them loses its oldest: the connection of an honest peer waits for
    milliseconds, so it is hardly ever the oldest.

    Parameters
    ----------
    most_waiting
        Largest number of connections that wait at a time.
    on_cut
        Called with the host of each connection that is cut, or not taken, for want of room.
    """

    def __init__(self, most_waiting: int, on_cut: Callable[[str], None]) -> None:
        self._most_waiting = most_waiting
        self._on_cut = on_cut
        self._open: dict[socket.socket, _Connection] = {}  # oldest first
        self._lock = Condition()

    def enter(self, connection: socket.socket, host: str) -> bool:
        """Note a new connection; False where there is no room for it."""
        with self._lock:
            # The threads of connections that were cut need a moment to end.
            has_room = self._lock.wait_for(
                lambda: len(self._waiting()) < 2 * self._most_waiting, _MOMENT_SECONDS
            )
            uncut = {key: peer for key, peer in self._waiting().items() if not peer.is_cut}
            if has_room:
                self._open[connection] = _Connection(host)
            lost = self._cut_one(uncut) if len(uncut) >= self._most_waiting else None
        for loser in (lost, None if has_room else host):
            if loser is not None:
                self._on_cut(loser)
        return has_room

    def _waiting(self) -> dict[socket.socket, _Connection]:
        return {key: peer for key, peer in self._open.items() if not peer.has_association}

    def _cut_one(self, waiting: dict[socket.socket, _Connection]) -> str:
        """Cut the oldest connection of the host that has most, and name the host."""
        ((host, _),) = Counter(peer.host for peer in waiting.values()).most_common(1)
        connection = next(key for key, peer in waiting.items() if peer.host == host)
        self._open[connection].is_cut = True
        cut(connection)
        return host

    def begin_association(self, connection: socket.socket, most: int, most_of_host: int) -> bool:
        """Count a connection as an association from now on, if there is room for one.

        Parameters
        ----------
        connection
            A connection that has entered.
        most, most_of_host
            Largest numbers of associations at a time, of all hosts and of each.
        """
        with self._lock:
            peer = self._open.get(connection)
            hosts = [other.host for other in self._open.values() if other.has_association]
            if peer is None or len(hosts) >= most or hosts.count(peer.host) >= most_of_host:
                return False
            peer.has_association = True
            return True

    def leave(self, connection: socket.socket) -> None:
        """Forget a connection; no harm is done where it is not known."""
        with self._lock:
            self._open.pop(connection, None)
            self._lock.notify_all()

    def cut_all(self) -> None:
        """Cut all connections, with an association or without."""
        with self._lock:
            for connection in self._open:
                cut(connection)

    def count_associations(self) -> int:
        """Count the associations."""
        with self._lock:
            return sum(peer.has_association for peer in self._open.values())

    def __len__(self) -> int:
        """Count the connections, with an association or without."""
        with self._lock:
            return len(self._open)


class BoundedPort(ThreadingMixIn, TCPServer):
    """A server with a thread for each connection, and no more of both than :class:`Connections` allows."""

    connections: Connections
    daemon_threads = True  # the process may end without them
    request_queue_size = 128

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for the connection."""
        return self.connections.enter(request, client_address[0])

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.connections.leave(request)
        super().shutdown_request(request)

    def handle_error(self, *_: Any) -> None:
        """Log a fault in the service of a connection. A peer that has gone is none."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            log_fault(error)


def cut(connection: socket.socket) -> None:
    """End the TCP connection below TLS, so that the thread that waits for it wakes up and closes it."""
    with suppress(OSError):  # the peer has just gone by itself
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
