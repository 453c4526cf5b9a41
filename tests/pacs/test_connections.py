"""Bounds of the status port, and which connection goes where there are too many."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from monai_bone_ssl.service.connections import Connections
from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.settings import StatusSettings
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.status import ServiceMetrics, StatusServer
from pacs.orthanc import free_port, wait_for


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection: the port's and the peer's."""
    return socket.socketpair()


def is_cut(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


def test_the_greediest_host_loses_its_oldest_connection() -> None:
    lost: list[str] = []
    connections = Connections(4, lost.append)
    pairs = [(host, *pair()) for host in ("one", "greedy", "greedy", "two", "new")]
    for host, here, _ in pairs:
        assert connections.enter(here, host)
    assert lost == ["greedy"]
    assert [is_cut(peer) for _, _, peer in pairs] == [False, True, False, False, False]
    for _, here, peer in pairs:
        connections.leave(here)
        here.close()
        peer.close()
    assert len(connections) == 0


def test_an_association_is_never_cut_for_a_newcomer() -> None:
    lost: list[str] = []
    connections = Connections(1, lost.append)
    first, *others = [pair() for _ in range(3)]
    assert connections.enter(first[0], "host")
    assert connections.begin_association(first[0], most=1, most_of_host=1)
    for here, _ in others:
        connections.enter(here, "host")
        assert not connections.begin_association(here, most=1, most_of_host=1)
    assert not is_cut(first[1])
    assert lost == ["host"]
    connections.leave(first[0])
    assert connections.begin_association(others[1][0], most=1, most_of_host=1)
    for ends in (first, *others):
        for end in ends:
            end.close()


def test_newcomers_wait_for_the_threads_of_those_that_were_cut() -> None:
    lost: list[str] = []
    connections = Connections(2, lost.append)
    pairs = [pair() for _ in range(6)]
    taken = [connections.enter(here, "host") for here, _ in pairs]
    assert taken == [True, True, True, True, False, False], "no more than twice the limit at a time"
    for ends in pairs:
        for end in ends:
            end.close()


@pytest.fixture
def status(tmp_path: Path) -> Iterator[int]:
    database = Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger = Ledger(database, "replica", 60)
    settings = StatusSettings(port=free_port(), max_connections=8, timeout_seconds=2)
    server = StatusServer(settings, ledger, Spool(tmp_path / "spool", 0), ServiceMetrics(), lambda: True)
    yield settings.port
    server.stop()
    database.close()


def test_idle_connections_do_not_keep_a_probe_out(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "monai_bone_ssl.service")
    before = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", status)) for _ in range(300)]
    assert requests.get(f"http://127.0.0.1:{status}/healthz/ready", timeout=30).status_code == 200
    assert threading.active_count() - before <= 16
    metrics = requests.get(f"http://127.0.0.1:{status}/metrics", timeout=30).text
    assert 'bone_ssl_turned_away_total{reason="too_many_status_connections"}' in metrics
    assert "status_connection_cut" in caplog.text
    wait_for(lambda: threading.active_count() <= before, "the idle ones to be closed")
    for connection in idle:
        connection.close()
