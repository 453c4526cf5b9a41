"""Archives that refuse a report for good, or take it and lose it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from dicom_factory import make_radiograph
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage
from pynetdicom import AE, evt
from tiny_model import draw

from monai_bone_ssl.errors import ReasonCode
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.service.backoff import Backoff
from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.delivery import Archive, Sender
from monai_bone_ssl.service.dimse import CStoreSender
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.settings import PacsSettings
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.status import ServiceMetrics
from monai_bone_ssl.service.tables import StudyState
from monai_bone_ssl.service.worker import Analyst, Courier
from pacs.orthanc import free_port
from pacs.test_worker import analysis


class Site:
    """A ledger with one study whose report waits to be sent."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.database = Database(f"sqlite:///{folder / 'ledger.sqlite'}")
        self.ledger = Ledger(self.database, "replica", 60)
        self.metrics = ServiceMetrics()
        self._parts = Spool(folder / "spool", 0), self.ledger, self.metrics, Backoff(1e-9, 1e-9)
        content = make_radiograph(folder / "in.dcm", draw(0.8)).read_bytes()
        Intake(self._parts[0], self.ledger).store(content, "CR1")
        self.ledger.complete_quiet_studies(0)
        assert Analyst(analysis(model), False, *self._parts).run_once()

    def send(self, sender: Sender, archive: Archive | None, attempts: int = 1) -> None:
        courier = Courier(sender, archive, *self._parts)
        for _ in range(attempts):
            assert courier.run_once()

    def state(self) -> StudyState:
        (state,) = (state for state, count in self.ledger.count_by_state().items() if count)
        return state


@pytest.fixture
def site(tmp_path: Path, tiny: Model) -> Iterator[Site]:
    site = Site(tmp_path, tiny)
    yield site
    site.database.close()


@pytest.fixture
def pacs() -> Iterator[Callable[[int], CStoreSender]]:
    """Start archives that answer C-STORE with one status each."""
    entities = []

    def start(status: int) -> CStoreSender:
        entity = AE("PACS")
        entity.add_supported_context(Comprehensive3DSRStorage)
        port = free_port()
        handlers = [(evt.EVT_C_STORE, lambda _: status)]
        entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        entities.append(entity)
        return CStoreSender(PacsSettings(host="127.0.0.1", port=port, ae_title="PACS"))

    yield start
    for entity in entities:
        entity.shutdown()


@pytest.mark.parametrize("status", [0x0122, 0x0117, 0xA900, 0xC000, 0xC123])
def test_a_report_that_is_refused_for_good_ends(
    status: int, site: Site, pacs: Callable[[int], CStoreSender]
) -> None:
    site.send(pacs(status), None)
    assert site.state() is StudyState.FAILED
    assert site.metrics.last_errors()["send"].code is ReasonCode.REPORT_REFUSED


@pytest.mark.parametrize("status", [0x0110, 0x0124, 0xA700, 0xA801])
def test_a_report_that_may_be_taken_later_is_sent_again(
    status: int, site: Site, pacs: Callable[[int], CStoreSender]
) -> None:
    site.send(pacs(status), None, attempts=3)
    assert site.state() is StudyState.TO_SEND
    assert site.metrics.last_errors()["send"].code is ReasonCode.PACS_REFUSED
    site.send(pacs(0), None)
    assert site.state() is StudyState.SENT


class Forgetful:
    """An archive that takes everything, and loses it a few times.

    Parameters
    ----------
    losses
        Number of deliveries that are lost.
    late
        Number of questions after which a delivery that was kept is found.
    """

    def __init__(self, losses: int, late: int = 0) -> None:
        self._losses = losses
        self._late = late
        self._held: set[str] = set()
        self.deliveries = 0

    def send(self, objects: Sequence[Dataset]) -> None:
        self.deliveries += 1
        if self.deliveries > self._losses:
            self._held |= {str(dataset.SOPInstanceUID) for dataset in objects}

    def holds(self, objects: Sequence[Dataset]) -> bool:
        if self._held and self._late:
            self._late -= 1
            return False
        return {str(dataset.SOPInstanceUID) for dataset in objects} <= self._held


def test_a_report_that_the_archive_lost_is_sent_again(site: Site) -> None:
    archive = Forgetful(losses=3)
    site.send(archive, archive, attempts=3)
    assert site.state() is StudyState.TO_SEND
    assert site.metrics.last_errors()["send"].code is ReasonCode.NOT_IN_ARCHIVE
    site.send(archive, archive)
    assert site.state() is StudyState.SENT
    assert site.metrics.last_errors() == {}


def test_a_report_that_is_listed_late_is_sent_once(site: Site) -> None:
    archive = Forgetful(losses=0, late=1)
    site.send(archive, archive, attempts=2)
    assert (site.state(), archive.deliveries) == (StudyState.SENT, 1)
