"""The receiver in this process, and peers that are slow, greedy, hostile or only wrong."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pynetdicom
import pytest
from dicom_factory import make_radiograph
from pydicom.uid import ComputedRadiographyImageStorage, EncapsulatedPDFStorage
from pynetdicom import AE
from pynetdicom.association import Association
from tiny_model import draw

from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.receiver import Receiver
from monai_bone_ssl.service.settings import ReceiverSettings, TlsSettings
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.status import ServiceMetrics
from pacs.node import NODE, SENDER
from pacs.orthanc import free_port, wait_for
from pacs.test_tls import Certificates

HOST = "127.0.0.1"


class Port:
    """A receiver, and what it has logged."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture, **settings: Any) -> None:
        self.folder = folder
        self.caplog = caplog
        self.port = free_port()
        self.metrics = ServiceMetrics()
        self.peers: list[socket.socket] = []
        values = {"ae_title": NODE, "calling_ae_titles": (SENDER, "CR2"), "host": HOST, "port": self.port}
        self.database = Database(f"sqlite:///{folder / 'ledger.sqlite'}")
        spool, ledger = Spool(folder / "spool", 0), Ledger(self.database, "replica", 60)
        self.receiver = Receiver(
            ReceiverSettings(**values | settings),
            spool,
            Intake(spool, ledger),
            self.metrics,
        )

    def connect(self, host: str = HOST) -> socket.socket:
        """A connection from an address of this machine."""
        self.peers.append(socket.create_connection((HOST, self.port), timeout=30, source_address=(host, 0)))
        return self.peers[-1]

    def associate(self, title: str = SENDER, host: str = HOST, **more: Any) -> Association:
        ae = AE(title)
        ae.acse_timeout = ae.network_timeout = ae.dimse_timeout = 60
        ae.add_requested_context(pynetdicom.sop_class.Verification)
        ae.add_requested_context(ComputedRadiographyImageStorage)
        for sop_class in more.pop("classes", ()):
            ae.add_requested_context(sop_class)
        return ae.associate(HOST, self.port, ae_title=NODE, bind_address=(host, 0), **more)

    def works(self) -> bool:
        """Whether a known sender gets an answer."""
        association = self.associate("CR2", "127.0.0.99")
        status = association.send_c_echo().Status if association.is_established else None
        association.release()
        return bool(status == 0)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [record.__dict__["fields"] for record in self.caplog.records if record.getMessage() == name]

    def wait_for(self, name: str, reason: str, count: int = 1) -> dict[str, Any]:
        """The newest event of a name and reason, which the metrics have counted too."""

        def found() -> list[dict[str, Any]]:
            return [fields for fields in self.events(name) if fields["reason"] == reason]

        wait_for(lambda: len(found()) >= count, f"{count} {name} {reason}")
        assert f'bone_ssl_turned_away_total{{reason="{reason}"}}'.encode() in self.metrics.exposition({}, 0)
        return found()[-1]

    def images(self) -> list[Path]:
        return sorted((self.folder / "spool" / "images").iterdir())


@pytest.fixture
def listen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Port]]:
    ports: list[Port] = []
    caplog.set_level(logging.INFO, "monai_bone_ssl.service")

    def start(**settings: Any) -> Port:
        ports.append(Port(tmp_path, caplog, **settings))
        return ports[-1]

    yield start
    for port in ports:
        for peer in port.peers:
            peer.close()
        port.receiver.stop(0)
        port.database.close()


def radiograph(folder: Path) -> pydicom.Dataset:
    return pydicom.dcmread(make_radiograph(folder / "in.dcm", draw(0.8), patient_id="P-4711"))


def pdu(kind: int, length: int) -> bytes:
    """The header of a PDU (DICOM PS3.8, 9.3.1)."""
    return struct.pack(">BBL", kind, 0, length)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed, or closes soon."""
    connection.settimeout(60)
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True


# --- TLS --------------------------------------------------------------------------------------------------


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


def with_tls(certificates: Certificates) -> TlsSettings:
    return TlsSettings(certificate=certificates.certificate, key=certificates.key, ca=certificates.authority)


def client_context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificates.authority)
    context.load_cert_chain(certificates.certificate, certificates.key)
    return context


def test_peers_that_never_shake_hands_do_not_block_the_port(
    listen: Callable[..., Port], certificates: Certificates, tmp_path: Path
) -> None:
    port = listen(tls=with_tls(certificates), association_seconds=5)
    idle = [port.connect() for _ in range(3)]
    association = port.associate(tls_args=(client_context(certificates), "localhost"))
    assert association.is_established
    assert association.send_c_store(radiograph(tmp_path)).Status == 0
    association.release()
    assert port.wait_for("connection_cut", "tls_handshake", count=3)["peer"] == HOST
    assert all(map(is_closed, idle))


def test_a_stop_does_not_wait_for_peers_that_do_nothing(
    listen: Callable[..., Port], certificates: Certificates
) -> None:
    port = listen(tls=with_tls(certificates), association_seconds=1000)
    idle = [port.connect() for _ in range(3)]
    started = time.monotonic()
    port.receiver.stop(1)
    assert time.monotonic() - started < 15
    assert all(map(is_closed, idle))


# --- lengths ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(1, 8))
@pytest.mark.parametrize("length", [(1 << 18) + 1, (1 << 32) - 1])
def test_a_long_pdu_is_not_read(listen: Callable[..., Port], kind: int, length: int) -> None:
    port = listen()
    with port.connect() as connection:
        connection.sendall(pdu(kind, length))
        assert is_closed(connection)
    event = port.wait_for("connection_cut", "pdu_length")
    assert event["detail"] == f"{length} bytes"
    assert port.works()


@pytest.mark.parametrize("kind", range(1, 8))
def test_in_an_association_a_pdu_is_as_long_as_negotiated(listen: Callable[..., Port], kind: int) -> None:
    port = listen(max_pdu_bytes=1 << 14)
    association = port.associate()
    assert association.acceptor.maximum_length == 1 << 14
    association.dul.socket.socket.sendall(pdu(kind, (1 << 14) + 1))
    event = port.wait_for("connection_cut", "pdu_length")
    assert event["peer"] == f"{SENDER}@{HOST}"
    assert port.works()


def test_an_image_larger_than_allowed_is_refused_and_the_next_one_taken(
    listen: Callable[..., Port], tmp_path: Path
) -> None:
    port = listen(max_object_mb=1)
    large = radiograph(tmp_path)
    large.Rows, large.Columns = 1024, 1024
    large.PixelData = bytes(2 << 20)
    association = port.associate()
    assert association.send_c_store(large).Status == 0xC000
    assert port.wait_for("refused", "too_large")["peer"] == f"{SENDER}@{HOST}"
    assert port.images() == []
    assert "receive" in port.metrics.last_errors()
    assert association.send_c_store(radiograph(tmp_path)).Status == 0
    assert port.metrics.last_errors() == {}, "what works again is no error"
    association.release()
    assert len(port.images()) == 1
    (event,) = port.events("received")
    assert event["sender"] == f"{SENDER}@{HOST}"


# --- time -------------------------------------------------------------------------------------------------


def test_a_connection_without_a_request_ends(listen: Callable[..., Port]) -> None:
    port = listen(association_seconds=0.5)
    with port.connect() as silent, port.connect() as slow:
        slow.sendall(pdu(1, 1000))
        assert is_closed(silent)
        assert is_closed(slow)
    port.wait_for("connection_cut", "no_association_request")
    port.wait_for("connection_cut", "slow_pdu")
    wait_for(lambda: len(port.receiver._server.connections) == 0, "no connection to be left")


@pytest.mark.parametrize("sent", [b"", pdu(4, 1000)], ids=["idle", "in_a_pdu"])
def test_an_association_that_falls_silent_ends(listen: Callable[..., Port], sent: bytes) -> None:
    port = listen(idle_seconds=1)
    association = port.associate()
    connection = association.dul.socket.socket
    connection.sendall(sent)
    assert port.wait_for("connection_cut", "slow_pdu" if sent else "idle")["peer"] == f"{SENDER}@{HOST}"
    wait_for(lambda: len(port.receiver._server.connections) == 0, "no connection to be left")
    assert port.works()


def test_an_image_that_drips_ends(listen: Callable[..., Port]) -> None:
    port = listen(object_seconds=1)
    association = port.associate()
    connection = association.dul.socket.socket
    for _ in range(3):  # parts of a command, and never its last
        connection.sendall(pdu(4, 7) + struct.pack(">LBB", 3, 1, 1) + b"x")
        time.sleep(0.6)
    port.wait_for("connection_cut", "slow_object")
    wait_for(lambda: len(port.receiver._server.connections) == 0, "no connection to be left")
    assert port.images() == []


# --- numbers ----------------------------------------------------------------------------------------------


def test_idle_connections_keep_nobody_out(listen: Callable[..., Port]) -> None:
    port = listen(max_waiting=8, association_seconds=1000)
    idle = [port.connect() for _ in range(50)]
    assert port.works()
    assert port.wait_for("connection_cut", "too_many_connections", count=40)["peer"] == HOST
    assert all(map(is_closed, idle[:20]))
    wait_for(lambda: len(port.receiver._server.connections) <= 8, "those that were cut to be gone")


def test_one_host_cannot_hold_all_associations(listen: Callable[..., Port]) -> None:
    port = listen(max_associations=4, max_associations_per_host=2)
    held = [port.associate(host="127.0.0.2") for _ in range(4)]
    assert [association.is_established for association in held] == [True, True, False, False]
    assert port.wait_for("association_rejected", "too_many_associations")["peer"] == f"{SENDER}@127.0.0.2"
    assert port.works(), "from another address"
    for association in held[:2]:
        association.release()
    wait_for(port.works, "the slots to be free")
    assert port.associate(host="127.0.0.2").is_established


def test_strangers_take_no_association(listen: Callable[..., Port]) -> None:
    port = listen(max_associations=1)
    for title in ("STRANGER", "CR1 X"):
        assert not port.associate(title).is_established
    event = port.wait_for("association_rejected", "calling_ae_title", count=2)
    assert event["peer"] == f"CR1 X@{HOST}"
    assert port.works()
    ae = AE(SENDER)
    ae.add_requested_context(pynetdicom.sop_class.Verification)
    assert not ae.associate(HOST, port.port, ae_title="OTHER").is_established
    assert port.wait_for("association_rejected", "called_ae_title")["called_ae_title"] == "OTHER"


def test_refused_contexts_are_logged(listen: Callable[..., Port]) -> None:
    port = listen()
    association = port.associate(classes=[EncapsulatedPDFStorage])
    association.release()
    (event,) = port.events("contexts_refused")
    assert event == {"peer": f"{SENDER}@{HOST}", "sop_classes": EncapsulatedPDFStorage}


# --- messages ---------------------------------------------------------------------------------------------


def test_requests_that_do_not_wait_for_their_answers_end_the_association(
    listen: Callable[..., Port], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = listen()
    monkeypatch.setattr(Intake, "take", lambda *_: time.sleep(2))
    association = port.associate()
    context = next(
        cx for cx in association.accepted_contexts if cx.abstract_syntax == ComputedRadiographyImageStorage
    )
    dataset = radiograph(tmp_path)
    request = pynetdicom.dimse_primitives.C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    for _ in range(5):
        request.DataSet = pynetdicom.dsutils.BytesIO(b"\x08\x00\x05\x00\x00\x00\x00\x00")
        association.dimse.send_msg(request, context.context_id)
    port.wait_for("connection_cut", "unexpected_message")
    wait_for(lambda: len(port.receiver._server.connections) == 0, "no connection to be left")
    assert port.images() == []


def test_other_messages_end_the_association(listen: Callable[..., Port]) -> None:
    port = listen()
    association = port.associate()
    request = pynetdicom.dimse_primitives.N_EVENT_REPORT()
    request.MessageID, request.EventTypeID = 1, 1
    request.AffectedSOPClassUID = ComputedRadiographyImageStorage
    request.AffectedSOPInstanceUID = "1.2.3"
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    port.wait_for("connection_cut", "unexpected_message")
    assert port.works()


def test_what_pynetdicom_cannot_handle_ends_the_association(listen: Callable[..., Port]) -> None:
    port = listen()
    association = port.associate()
    command = struct.pack("<HHLH", 0, 0x0100, 2, 0xBEEF)  # a Command Field that nobody knows
    body = struct.pack(">LBB", len(command) + 2, 1, 3) + command
    association.dul.socket.socket.sendall(pdu(4, len(body)) + body)
    event = port.wait_for("connection_cut", "malformed")
    assert "unforeseen KeyError in decode_msg" in event["detail"]
    wait_for(lambda: len(port.receiver._server.connections) == 0, "no connection to be left")
    assert port.works()


def test_an_image_cut_short_leaves_nothing(listen: Callable[..., Port], tmp_path: Path) -> None:
    port = listen()
    path = make_radiograph(tmp_path / "in.dcm", draw(0.8))
    association = port.associate()
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.Columns = 2048, 2048
    dataset.PixelData = bytes(8 << 20)
    send, sent = association.dul.socket.send, 0
    parts: list[Path] = []

    def send_a_part(data: bytes) -> None:
        nonlocal sent
        sent += len(data)
        if sent < 4 << 20:
            send(data)
        elif not parts:
            parts.extend(wait_for(port.images, "a part of the image"))

    association.dul.socket.send = send_a_part  # type: ignore[method-assign]
    association.dimse_timeout = 3
    association.send_c_store(dataset)
    assert len(parts) == 1
    wait_for(lambda: port.images() == [], "the partial file to be gone")
    assert port.works()


def test_dcmtk_sends_as_before(listen: Callable[..., Port], tmp_path: Path) -> None:
    port = listen()
    path = make_radiograph(tmp_path / "in.dcm", draw(0.8))
    run = subprocess.run(
        ["storescu", "-aet", SENDER, "-aec", NODE, HOST, str(port.port), path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    (kept,) = port.images()
    back, sent = pydicom.dcmread(kept), pydicom.dcmread(path)
    assert back == sent
    assert back.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
