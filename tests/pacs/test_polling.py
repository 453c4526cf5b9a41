"""An archive with faults: one study, one image or one page of it must not stop the rest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pydicom
import pytest
import requests
from pydicom.uid import ComputedRadiographyImageStorage

from monai_bone_ssl.errors import ReasonCode, ServiceError
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.service.backoff import Backoff
from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.dicomweb import DicomWeb, Poller, RemoteInstance
from monai_bone_ssl.service.fetches import Fetches
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.settings import DicomWebSettings, PollSettings
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.status import ServiceMetrics
from monai_bone_ssl.service.tables import StudyState
from monai_bone_ssl.service.worker import Analyst
from pacs.node import make_study
from pacs.orthanc import PASSWORD, USER, Orthanc
from pacs.test_c_store import references, sop_uids
from pacs.test_dicomweb import today
from pacs.test_worker import analysis

NO_PAUSE = Backoff(1e-9, 1e-9)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path / "orthanc")
    yield server
    server.stop()


class Site:
    """A poller on an archive, with a ledger and a spool of its own.

    Parameters
    ----------
    folder
        Empty folder for ledger and spool.
    url
        Address of the DICOMweb server.
    """

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "password").write_text(PASSWORD)
        self.web = DicomWeb(DicomWebSettings(url=url, username=USER, password_file=folder / "password"))
        self.database = Database(f"sqlite:///{folder / 'ledger.sqlite'}")
        self.ledger = Ledger(self.database, "replica", 60)
        self.spool = Spool(folder / "spool", 0)
        self.metrics = ServiceMetrics()
        self.asked: Counter[str] = Counter()
        self.poller = Poller(
            self.web,
            Intake(self.spool, self.ledger),
            self.ledger,
            Fetches(self.database),
            PollSettings(every_seconds=3600.0),
            self.metrics,
            NO_PAUSE,
        )

    def poll(self, rounds: int = 1) -> None:
        """Whole rounds: the look, and each study that is due."""
        for _ in range(rounds):
            self.poller._next_round = 0.0
            while self.poller.run_once():
                pass

    def break_image(self, patch: pytest.MonkeyPatch, path: Path, fault: Callable[[], bytes]) -> None:
        """Let the archive answer to a request for one image as a fault wants it."""
        broken = str(pydicom.dcmread(path).SOPInstanceUID)
        retrieve = self.web.retrieve

        def faulty(study: str, image: RemoteInstance) -> bytes:
            self.asked[image.sop_instance_uid] += 1
            return fault() if image.sop_instance_uid == broken else retrieve(study, image)

        patch.setattr(self.web, "retrieve", faulty)

    def counts(self) -> dict[StudyState, int]:
        return {state: count for state, count in self.ledger.count_by_state().items() if count}


@pytest.fixture
def site(archive: Orthanc, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, f"{archive.url}/dicom-web")
    yield site
    site.database.close()


def refuse() -> bytes:
    raise ServiceError(ReasonCode.PACS_REFUSED, "DICOMweb answered 500")


def time_out() -> bytes:
    raise ServiceError(ReasonCode.PACS_UNREACHABLE, "DICOMweb: no answer")


def garbage() -> bytes:
    return b"\0" * 128 + b"DICM" + b"\xff" * 50


def uploaded(archive: Orthanc, folder: Path, name: str, images: int) -> tuple[str, list[Path]]:
    study, paths = make_study(folder / name, name, images, edit=today)
    archive.upload(*paths)
    return study, paths


@pytest.mark.parametrize("fault", [refuse, time_out])
def test_a_study_that_cannot_be_fetched_stops_no_other_and_is_given_up(
    fault: Callable[[], bytes], site: Site, archive: Orthanc, tmp_path: Path, tiny: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bad, paths = uploaded(archive, tmp_path, "BAD", 3)
    good = [uploaded(archive, tmp_path, f"GOOD{number}", 1)[0] for number in range(3)]
    site.break_image(monkeypatch, paths[1], fault)
    site.poll(4)
    assert [len(site.ledger.known_sop_instances(study)) for study in good] == [1, 1, 1]
    assert site.ledger.complete_quiet_studies(0) == 3, "the bad one is held"
    assert site.metrics.last_errors()["fetch"].in_a_row >= 3, "and health says so"
    site.poll(20)
    assert site.counts() == {StudyState.COMPLETE: 3, StudyState.RECEIVED: 1}
    assert site.ledger.complete_quiet_studies(0) == 1
    (missing,) = site.ledger.missing_images(bad).items()
    assert missing == (pydicom.dcmread(paths[1]).SOPInstanceUID, "fetch_abandoned")
    assert b"bone_ssl_missing_images 1.0" in site.metrics.exposition({}, site.ledger.count_missing_images())
    asked = site.asked[missing[0]]
    site.poll(3)
    assert site.asked[missing[0]] == asked, "not for ever"
    assert "fetch" not in site.metrics.last_errors()
    check_partial_report(site, bad, paths[:1] + paths[2:], tiny)


def test_what_can_be_read_of_a_study_is_reported(
    site: Site, archive: Orthanc, tmp_path: Path, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = uploaded(archive, tmp_path, "CORRUPT", 2)
    site.break_image(monkeypatch, paths[0], garbage)
    site.poll(5)
    assert site.asked[pydicom.dcmread(paths[0]).SOPInstanceUID] == 1
    assert site.ledger.complete_quiet_studies(0) == 1
    assert list(site.ledger.missing_images(study)) == [pydicom.dcmread(paths[0]).SOPInstanceUID]
    check_partial_report(site, study, paths[1:], tiny)


def check_partial_report(site: Site, study: str, paths: list[Path], model: Model) -> None:
    parts = site.spool, site.ledger, site.metrics, NO_PAUSE
    analyst = Analyst(analysis(model), False, *parts)
    while analyst.run_once():
        pass
    reports = [pydicom.dcmread(path) for path in site.spool.report_folder(study, 0).parent.glob("*/SR_*")]
    (report,) = reports
    assert report.CompletionFlag == "PARTIAL"
    assert references(report) == sop_uids(paths)


def test_a_study_of_which_nothing_can_be_read_fails_with_the_reason(
    site: Site, archive: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, paths = uploaded(archive, tmp_path, "GARBAGE", 1)
    site.break_image(monkeypatch, paths[0], garbage)
    site.poll(2)
    assert site.counts() == {StudyState.FAILED: 1}
    with site.database.transaction() as session:
        (reason,) = session.connection().exec_driver_sql("SELECT reason FROM studies").one()
    assert reason in {code.value for code in ReasonCode} - {"fetch_abandoned"}


def test_a_study_that_is_deleted_while_it_is_fetched_is_not_reported(
    site: Site, archive: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = uploaded(archive, tmp_path, "DELETED", 2)
    with monkeypatch.context() as patch:
        site.break_image(patch, paths[1], refuse)
        site.poll()
    (found,) = archive._post("/tools/lookup", study.encode()).json()
    requests.delete(f"{archive.url}{found['Path']}", auth=(USER, PASSWORD), timeout=30).raise_for_status()
    other, _ = uploaded(archive, tmp_path, "OTHER", 1)
    site.poll(2)
    assert len(site.ledger.known_sop_instances(other)) == 1
    site.poll(20)
    assert site.ledger.complete_quiet_studies(0) == 1, "the other"
    assert site.counts() == {StudyState.FAILED: 1, StudyState.COMPLETE: 1}


def test_a_study_is_not_complete_before_all_of_it_was_fetched(
    site: Site, archive: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive fails in the middle of a study, which is quiet for long then."""
    study, paths = uploaded(archive, tmp_path, "HALF", 4)
    with monkeypatch.context() as patch:
        site.break_image(patch, paths[0], time_out)
        site.poll(2)
    assert site.ledger.complete_quiet_studies(0) == 0
    site.poll()
    assert site.ledger.known_sop_instances(study) == sop_uids(paths)
    assert site.ledger.complete_quiet_studies(0) == 1


class CappedServer(BaseHTTPRequestHandler):
    """QIDO-RS of a server that gives 100 items at most, however many are asked for."""

    studies = tuple(f"1.2.{number}" for number in range(250))

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        offset = int(parse_qs(url.query).get("offset", ["0"])[0])
        if url.path.endswith("/studies"):
            items = [{"0020000D": value("UI", uid)} for uid in self.studies]
        else:
            tags = ("0020000E", "00080018", "00080016")
            values = ((uid, uid, ComputedRadiographyImageStorage) for uid in self.studies)
            items = [{tag: value("UI", v) for tag, v in zip(tags, vs, strict=True)} for vs in values]
        page = items[offset : offset + 100]
        self.send_response(200 if page else 204)
        self.send_header("Content-Type", "application/dicom+json")
        self.end_headers()
        if page:
            self.wfile.write(json.dumps(page).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to say."""


def value(vr: str, content: str) -> dict[str, object]:
    return {"vr": vr, "Value": [content]}


def test_pages_are_asked_for_until_one_is_empty() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), CappedServer)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    web = DicomWeb(DicomWebSettings(url=f"http://127.0.0.1:{server.server_port}"))
    try:
        assert sorted(web.find_studies("CR", "20260101-20260102")) == sorted(CappedServer.studies)
        assert len(web.find_images("1.2.1")) == 250
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
