"""Thousands of associations that are damaged on their way, at a service that has to outlive them all."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pynetdicom
import pytest
from dicom_factory import make_radiograph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import ComputedRadiographyImageStorage
from pynetdicom import AE
from pynetdicom.association import Association
from tiny_model import draw

from pacs.node import NODE, SENDER, Node
from pacs.orthanc import free_port, wait_for

#: Time, in seconds, that an answer may take before the next PDU is sent all the same.
_PATIENCE = 0.2
_GROWTH_MB = 32


def associate(node: Node) -> Association:
    ae = AE(SENDER)
    ae.add_requested_context(pynetdicom.sop_class.Verification)
    ae.add_requested_context(ComputedRadiographyImageStorage)
    return ae.associate("127.0.0.1", node.port, ae_title=NODE)


def record(node: Node, folder: Path) -> list[bytes]:
    """The PDUs of a sender's good association: C-ECHO, C-STORE, release."""
    pdus: list[bytes] = []
    image = dcmread(make_radiograph(folder / "in.dcm", draw(0.8), body_part="CHEST"))
    ae = AE(SENDER)
    ae.add_requested_context(pynetdicom.sop_class.Verification)
    ae.add_requested_context(ComputedRadiographyImageStorage)
    association = ae.associate(
        "127.0.0.1",
        node.port,
        ae_title=NODE,
        evt_handlers=[(pynetdicom.evt.EVT_DATA_SENT, lambda event: pdus.append(event.data))],
    )
    assert association.send_c_echo().Status == 0
    assert association.send_c_store(image).Status == 0
    association.release()
    return pdus


def flip(data: bytes, at: int, value: int) -> bytes:
    at %= max(1, len(data))
    return data[:at] + bytes([value & 0xFF]) + data[at + 1 :]


def overwrite(data: bytes, at: int, value: int) -> bytes:
    """A length, or whatever else stands there, is another."""
    at %= max(1, len(data))
    return data[:at] + value.to_bytes(4, "big") + data[at + 4 :]


def end_early(data: bytes, at: int, _: int) -> bytes:
    return data[: at % max(1, len(data))]


def insert(data: bytes, at: int, value: int) -> bytes:
    at %= max(1, len(data))
    return data[:at] + value.to_bytes(4, "little") * (1 + value % 64) + data[at:]


def repeat(data: bytes, _: int, value: int) -> bytes:
    return data * (value % 4)


DAMAGE: list[Callable[[bytes, int, int], bytes]] = [flip, overwrite, end_early, insert, repeat]
# Most of what matters is in the first bytes: types, lengths, contexts, commands.
PLACES = st.one_of(st.integers(0, 16), st.integers(0, 300), st.integers(0, 1 << 17))
VALUES = st.one_of(
    st.sampled_from([0, 1, 2, 7, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]),
    st.integers(0, 0xFFFFFFFF),
)
MISHAPS = st.lists(
    st.tuples(st.integers(0, 31), st.sampled_from(DAMAGE), PLACES, VALUES), min_size=1, max_size=3
)
ORDERS = st.one_of(st.none(), st.permutations(range(6)))
SHORT = settings(
    max_examples=500,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
LONG = settings(SHORT, max_examples=10_000)


def play(node: Node, pdus: list[bytes]) -> None:
    """Send PDUs, each after the answer to the one before or some patience, and see the connection closed."""
    with (
        socket.create_connection(("127.0.0.1", node.port), timeout=120) as connection,
        suppress(ConnectionError),
    ):
        for pdu in pdus:
            connection.sendall(pdu)
            if select.select([connection], [], [], _PATIENCE)[0] and not connection.recv(1 << 16):
                return
        with suppress(OSError):  # the service has closed the connection just now
            connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass


def memory(node: Node) -> float:
    """Resident memory of the service, in MB."""
    assert node.process is not None
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def threads(node: Node) -> int:
    assert node.process is not None
    return len(list(Path(f"/proc/{node.process.pid}/task").iterdir()))


def connections(node: Node) -> int:
    """Number of connections that the service has not closed: established, or closed by the peer alone."""
    lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(int(f[1].split(":")[1], 16) == node.port and f[3] in ("01", "08") for f in fields)


@pytest.mark.parametrize(
    "extent", [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.slow)]
)
def test_damaged_associations_harm_nobody_else(
    extent: settings, run_node: Callable[..., Node], tmp_path: Path
) -> None:
    pacs = f'[pacs]\nhost = "127.0.0.1"\nport = {free_port()}\nae_title = "PACS"\n'
    node = run_node(pacs, receiver="idle_seconds = 2\nassociation_seconds = 2")
    good = record(node, tmp_path)
    for _ in range(20):  # what the first associations leave behind is no leak
        play(node, good)
    before = memory(node), threads(node)

    @extent
    @given(mishaps=MISHAPS, order=ORDERS)
    def fuzz(
        mishaps: list[tuple[int, Callable[[bytes, int, int], bytes], int, int]], order: list[int] | None
    ) -> None:
        pdus = list(good)
        for which, damage, at, value in mishaps:
            pdus[which % len(pdus)] = damage(pdus[which % len(pdus)], at, value)
        play(node, [pdus[i % len(pdus)] for i in order] if order else pdus)

    fuzz()

    wait_for(lambda: threads(node) <= before[1], "the threads of associations to end")
    wait_for(lambda: connections(node) == 0, "connections to be closed")
    assert memory(node) < before[0] + _GROWTH_MB
    assert node.health()["status"] == "ok"
    assert node._is_ready()
    held = [associate(node) for _ in range(10)]
    assert all(association.is_established for association in held), "all slots are back"
    for association in held:
        association.release()
    faults = [event for event in node.events() if event["event"] == "fault"]
    assert faults == [], "a peer's mistake is none of ours"
    assert list(node.spool.glob("images/*.partial")) == []
