"""The operator's commands, and reports that follow an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from dicom_factory import make_radiograph
from pydicom import Dataset
from tiny_model import draw
from validators import dciodvfy

from monai_bone_ssl.cli import main
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.service.backoff import Backoff
from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.status import ServiceMetrics
from monai_bone_ssl.service.worker import Analyst, Courier
from pacs.test_c_store import references
from pacs.test_worker import analysis

STUDY = "1.2.3"


class Site:
    """A node without a network: images are put in, and reports come out."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder = folder
        self.database = Database(f"sqlite:///{folder / 'spool' / 'ledger.sqlite'}")
        self.ledger = Ledger(self.database, "replica", 60)
        self.spool = Spool(folder / "spool", 0)
        self.reports: list[Dataset] = []
        parts = self.spool, self.ledger, ServiceMetrics(), Backoff(1e-9, 1e-9)
        self._analyst = Analyst(analysis(model), False, *parts)
        self._courier = Courier(self, None, *parts)
        (folder / "serve.toml").write_text(
            f'spool = "{folder / "spool"}"\nsend = "c-store"\n'
            '[receiver]\nae_title = "NODE"\ncalling_ae_titles = ["CR1"]\n'
            '[pacs]\nhost = "localhost"\nport = 104\nae_title = "PACS"\n'
        )

    def send(self, objects: Sequence[Dataset]) -> None:
        self.reports += objects

    def receive(self, number: int, patient: str = "P1") -> None:
        path = make_radiograph(
            self.folder / "in.dcm",
            draw(0.8, seed=number),
            study_uid=STUDY,
            sop_uid=f"1.2.3.{number}",
            patient_id=patient,
        )
        Intake(self.spool, self.ledger).store(path.read_bytes(), "CR1")

    def work(self) -> None:
        self.ledger.complete_quiet_studies(0)
        while self._analyst.run_once() or self._courier.run_once():
            pass

    def queue(self, *words: str) -> int:
        return main(["queue", *words, "--config", str(self.folder / "serve.toml")])


@pytest.fixture
def site(tmp_path: Path, tiny: Model) -> Iterator[Site]:
    (tmp_path / "spool").mkdir()
    site = Site(tmp_path, tiny)
    yield site
    site.database.close()


def predecessors(report: Dataset) -> list[tuple[str, str]]:
    """Series and SOP Instance UIDs of the documents that a report follows."""
    return [
        (series.SeriesInstanceUID, instance.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence") or []
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]


def test_a_report_on_a_grown_study_names_the_one_before_and_what_it_adds(site: Site) -> None:
    site.receive(1)
    site.work()
    for number in (2, 3):
        site.receive(number)
    site.work()
    first, second = site.reports
    assert predecessors(first) == []
    assert predecessors(second) == [(first.SeriesInstanceUID, first.SOPInstanceUID)]
    assert references(second) == {"1.2.3.1", "1.2.3.2", "1.2.3.3"}
    assert "This report replaces an earlier one and adds 2 images." in second.to_json()
    assert "replaces" not in first.to_json()
    assert dciodvfy(next(site.spool.report_folder(STUDY, 3).glob("SR_*"))).errors == []
    # Made again, it is the same document, with the same predecessor.
    assert site.queue("retry", STUDY) == 0
    site.work()
    again = site.reports[2]
    assert again.SOPInstanceUID == second.SOPInstanceUID
    assert predecessors(again) == predecessors(second)
    changed = {element.keyword for element in again if element != second.get(element.tag)}
    made = {"InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime"}
    assert changed <= made | {"ContributingEquipmentSequence"}


def test_a_corrected_patient_id_gives_a_new_report_that_replaces_the_old(site: Site) -> None:
    site.receive(1, patient="WRONG")
    site.work()
    assert site.queue("forget", STUDY) == 0
    assert list((site.folder / "spool/images").glob("*")) == []
    site.work()
    assert len(site.reports) == 1
    site.receive(1, patient="RIGHT")
    site.work()
    old, new = site.reports
    assert (old.PatientID, new.PatientID) == ("WRONG", "RIGHT")
    assert new.SOPInstanceUID != old.SOPInstanceUID
    assert new.SeriesInstanceUID != old.SeriesInstanceUID
    assert predecessors(new) == [(old.SeriesInstanceUID, old.SOPInstanceUID)]


def test_the_operator_sees_and_resends(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.receive(1, patient="SECRET")
    site.work()
    assert site.queue("resend", STUDY) == 0
    site.work()
    assert [report.SOPInstanceUID for report in site.reports] == [site.reports[0].SOPInstanceUID] * 2
    capsys.readouterr()
    assert site.queue("list", "--state", "sent") == 0
    assert capsys.readouterr().out.split()[:3] == [STUDY, "sent", "-"]
    assert site.queue("list", "--state", "failed") == 0
    assert capsys.readouterr().out == ""
    assert site.queue("show", STUDY) == 0
    shown = capsys.readouterr().out
    assert "image: 1.2.3.1" in shown
    assert f"report: {site.reports[0].SOPInstanceUID}" in shown
    assert "SECRET" not in shown


@pytest.mark.parametrize("verb", ["show", "retry", "resend", "forget"])
def test_a_study_that_the_ledger_does_not_know_is_told_in_one_line(
    verb: str, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert site.queue(verb, "9.9") == 2
    assert capsys.readouterr().err == "bone-ssl: study 9.9: the ledger does not know this study\n"


def test_what_cannot_be_done_is_told(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.receive(1)
    assert site.queue("resend", STUDY) == 2
    assert "no report to send" in capsys.readouterr().err
    site.work()
    assert site.queue("forget", STUDY) == 0
    assert site.queue("retry", STUDY) == 2
    assert "send them again" in capsys.readouterr().err
