"""TLS both ways, with certificates that the test makes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from outside import program

from pacs.node import Node, c_store, make_study
from pacs.orthanc import Orthanc, free_port
from pacs.test_dicomweb import TOP, tables, today


class Certificates:
    """An authority, one certificate that it signed for localhost, and one that nobody signed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.authority = folder / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        self.certificate, self.key = self._issue(authority, folder, "own")
        self.foreign_certificate, self.foreign_key = self._issue(trustme.CA(), folder, "foreign")
        self.both = folder / "both.pem"
        self.both.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())

    @staticmethod
    def _issue(authority: trustme.CA, folder: Path, name: str) -> tuple[Path, Path]:
        issued = authority.issue_cert("localhost")
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def toml(self, table: str) -> str:
        lines = {"certificate": self.certificate, "key": self.key, "ca": self.authority}
        return f"[{table}]\n" + "\n".join(f'{name} = "{path}"' for name, path in lines.items()) + "\n"

    def of_orthanc(self, certificate: Path, key: Path) -> dict[str, object]:
        """Settings of an Orthanc that shows a certificate and trusts this authority."""
        return {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(certificate),
            "DicomTlsPrivateKey": str(key),
            "DicomTlsTrustedCertificates": str(self.authority),
        }


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


def test_images_and_reports_go_by_tls(
    certificates: Certificates, run_node: Callable[..., Node], tmp_path: Path
) -> None:
    orthanc = Orthanc(
        tmp_path / "orthanc",
        dicom_tls=certificates.of_orthanc(certificates.certificate, certificates.key),
    )
    try:
        node = run_node(
            c_store(orthanc) + certificates.toml("pacs.tls"), receiver=certificates.toml("receiver.tls")
        )
        study, paths = make_study(tmp_path / "study", "TLS")
        plain = node.storescu(*paths)
        assert plain.returncode != 0, "without TLS"
        trust = ["+cf", str(certificates.authority)]
        foreign = [str(certificates.foreign_key), str(certificates.foreign_certificate)]
        assert node.storescu(*paths, options=["+tls", *foreign, *trust]).returncode != 0, (
            "foreign certificate"
        )
        assert node.ledger("select * from studies") == []

        own = ["+tls", str(certificates.key), str(certificates.certificate)]
        run = node.storescu(*paths, options=[*own, *trust])
        assert run.returncode == 0, run.stderr
        (report,) = orthanc.wait_for_report(study)
        assert report.PatientID == "TLS"
    finally:
        orthanc.stop()


def test_a_pacs_that_nobody_vouches_for_gets_nothing(
    certificates: Certificates, run_node: Callable[..., Node], tmp_path: Path
) -> None:
    orthanc = Orthanc(
        tmp_path / "orthanc",
        dicom_tls=certificates.of_orthanc(certificates.foreign_certificate, certificates.foreign_key),
    )
    try:
        node = run_node(c_store(orthanc) + certificates.toml("pacs.tls"))
        _, paths = make_study(tmp_path / "study", "IMPOSTOR")
        assert node.storescu(*paths).returncode == 0
        node.wait_for_error("send", "pacs_unreachable")
        assert orthanc.report_uids() == []
        assert node.count("to_send") == 1
    finally:
        orthanc.stop()


@pytest.fixture
def https(certificates: Certificates, orthanc: Orthanc) -> Iterator[str]:
    """URL of the archive by https. Debian's Orthanc 1.10 dies of its own https: socat does it."""
    program("socat", "socat")
    port = free_port()
    listen = f"OPENSSL-LISTEN:{port},reuseaddr,fork,verify=0,cert={certificates.both}"
    with subprocess.Popen(["socat", listen, f"TCP:localhost:{orthanc.http_port}"]) as proxy:
        yield f"https://localhost:{port}"
        proxy.terminate()


def test_dicomweb_goes_by_https(
    https: str, certificates: Certificates, orthanc: Orthanc, run_node: Callable[..., Node], tmp_path: Path
) -> None:
    study, paths = make_study(tmp_path / "study", "HTTPS", 1, edit=today)
    orthanc.upload(*paths)
    run_node(tables(https, tmp_path / "password", ca=certificates.authority), top=TOP)
    (report,) = orthanc.wait_for_report(study)
    assert report.PatientID == "HTTPS"
    blind = run_node(tables(https, tmp_path / "password"), name="blind", top=TOP)
    blind.wait_for_error("fetch", "pacs_unreachable")
    assert blind.ledger("select * from studies") == []
