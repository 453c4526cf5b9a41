"""Steps that a whole service shows too rarely: a study that never ends, a report that cannot be written."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from dicom_factory import make_radiograph
from pydicom import Dataset, dcmread
from pydicom.uid import UID, ImplicitVRLittleEndian, JPEGLSLossless
from sqlalchemy import update
from tiny_model import draw

from monai_bone_ssl.errors import ReasonCode, ReportError
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.service.analysis import Job, JobOutcome, analyse_job
from monai_bone_ssl.service.backoff import Backoff
from monai_bone_ssl.service.cleaning import clean, strays
from monai_bone_ssl.service.database import Database
from monai_bone_ssl.service.fetches import Fetches
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.status import ServiceMetrics
from monai_bone_ssl.service.tables import InstanceRow, StudyRow, StudyState, TallyRow
from monai_bone_ssl.service.worker import Analyst, Courier
from monai_bone_ssl.shown_image import Outputs


def analysis(model: Model) -> Callable[[Job], JobOutcome]:
    """An analysis in this process."""
    return partial(analyse_job, model=model, outputs=Outputs(overlay=False))


@pytest.fixture
def parts(tmp_path: Path, tiny: Model) -> tuple[Ledger, Analyst, ServiceMetrics]:
    """A ledger with one complete study, and who analyses it."""
    ledger = Ledger(Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}"), "replica", 60)
    spool = Spool(tmp_path / "spool", 0)
    Intake(spool, ledger).store(make_radiograph(tmp_path / "in.dcm", draw(0.8)).read_bytes(), "CR1")
    ledger.complete_quiet_studies(0)
    metrics = ServiceMetrics()
    return ledger, Analyst(analysis(tiny), False, spool, ledger, metrics, Backoff(1e-9, 1e-9)), metrics


def test_a_study_that_takes_the_process_down_is_given_up(
    parts: tuple[Ledger, Analyst, ServiceMetrics],
) -> None:
    ledger, analyst, _ = parts
    for _ in range(20):
        assert ledger.claim_analysis() is not None
        ledger.desert()  # what the next start does
    assert analyst.run_once()
    assert ledger.count_by_state()[StudyState.FAILED] == 1
    assert not analyst.run_once()


def test_the_second_analyst_leaves_what_was_begun_before(
    parts: tuple[Ledger, Analyst, ServiceMetrics], tiny: Model, tmp_path: Path
) -> None:
    ledger, _, metrics = parts
    second = Analyst(analysis(tiny), True, Spool(tmp_path / "spool", 0), ledger, metrics, Backoff(1e-9, 1e-9))
    assert ledger.claim_analysis() is not None
    ledger.desert()
    assert not second.run_once()
    # A study that nobody has begun is taken.
    path = make_radiograph(tmp_path / "other.dcm", draw(0.2))
    Intake(Spool(tmp_path / "spool", 0), ledger).store(path.read_bytes(), "CR1")
    ledger.complete_quiet_studies(0)
    assert second.run_once()
    assert ledger.count_by_state()[StudyState.TO_SEND] == 1


def test_an_analysis_that_cannot_write_is_tried_again(
    parts: tuple[Ledger, Analyst, ServiceMetrics], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, analyst, metrics = parts

    def refuse(_: Job) -> JobOutcome:
        raise ReportError(ReasonCode.WRITE_FAILED, "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(analyst, "_analyse", refuse)
        assert analyst.run_once()
    assert metrics.last_errors()["analyse"].code == ReasonCode.WRITE_FAILED
    assert ledger.count_by_state()[StudyState.COMPLETE] == 1
    time.sleep(0.01)
    assert analyst.run_once()
    assert metrics.last_errors() == {}
    claim = ledger.claim_delivery()
    assert claim is not None
    assert len(claim.outbox) == 1


class Archive:
    """A way to a PACS that takes everything."""

    def __init__(self) -> None:
        self.objects: list[Dataset] = []

    def send(self, objects: Sequence[Dataset]) -> None:
        self.objects += objects


@pytest.mark.parametrize("damage", ["cut", "byte", "gone", "empty", "not_dicom"])
def test_a_report_that_is_damaged_in_the_spool_is_made_again(
    damage: str, parts: tuple[Ledger, Analyst, ServiceMetrics], tmp_path: Path
) -> None:
    ledger, analyst, metrics = parts
    assert analyst.run_once()
    (report,) = tmp_path.glob("spool/reports/*/*/SR_*.dcm")
    content = report.read_bytes()
    if damage == "gone":
        report.unlink()
    else:
        middle = len(content) // 2
        damages = {
            "cut": content[:middle],
            "byte": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "empty": b"",
            "not_dicom": b"\x42" * 4096,
        }
        report.write_bytes(damages[damage])
    archive = Archive()
    courier = Courier(archive, None, Spool(tmp_path / "spool", 0), ledger, metrics, Backoff(1e-9, 1e-9))
    assert courier.run_once()
    assert archive.objects == []
    assert metrics.last_errors()["send"].code == ReasonCode.REPORT_FAILED
    assert ledger.count_by_state()[StudyState.COMPLETE] == 1
    assert analyst.run_once()
    assert courier.run_once()
    assert [report.Modality for report in archive.objects] == ["SR"]
    assert metrics.last_errors() == {}


def test_a_spool_that_refuses_is_an_error_that_may_pass(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0)
    (tmp_path / "images" / "no file").mkdir()
    with pytest.raises(ReportError, match="images"):
        spool.remove(["no file"])
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(ReportError, match="images"):
        list(spool.settled())


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, JPEGLSLossless])
def test_an_image_that_comes_again_in_another_transfer_syntax_changes_nothing(
    syntax: UID, parts: tuple[Ledger, Analyst, ServiceMetrics], tmp_path: Path
) -> None:
    ledger, analyst, metrics = parts
    assert analyst.run_once()
    spool, archive = Spool(tmp_path / "spool", 0), Archive()
    assert Courier(archive, None, spool, ledger, metrics, Backoff(1e-9, 1e-9)).run_once()
    first = dcmread(tmp_path / "in.dcm")
    again = make_radiograph(
        tmp_path / "again.dcm",
        draw(0.8),
        study_uid=first.StudyInstanceUID,
        series_uid=first.SeriesInstanceUID,
        sop_uid=first.SOPInstanceUID,
        transfer_syntax=syntax,
    )
    Intake(spool, ledger).store(again.read_bytes(), "CR1")
    assert ledger.count_by_state()[StudyState.SENT] == 1
    assert len(list(tmp_path.glob("spool/images/*"))) == 1


@pytest.mark.usefixtures("parts")
def test_nobody_else_may_look_into_the_spool(tmp_path: Path) -> None:
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "spool").iterdir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.glob("spool/images/*")} == {"0o600"}


def test_cleaning_goes_on_until_nothing_is_left(
    parts: tuple[Ledger, Analyst, ServiceMetrics], tmp_path: Path
) -> None:
    """More studies than are removed at a time, and a file that no study knows."""
    ledger, analyst, _ = parts
    spool = Spool(tmp_path / "spool", 0)
    database = Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with database.transaction() as session:
        for number in range(1201):
            uid, name = f"1.2.{number}", f"{number}.dcm"
            session.add(
                StudyRow(
                    study_instance_uid=uid,
                    state="received",
                    has_images=True,
                    last_instance_at=0,
                    changed_at=0,
                )
            )
            session.flush()
            session.add(InstanceRow(study_instance_uid=uid, sop_instance_uid=uid, digest="0", name=name))
            spool.image(name).touch()
        session.execute(update(StudyRow).values(state="failed", changed_at=0.0))
        session.execute(update(TallyRow).where(TallyRow.state == "failed").values(studies=1202))
    stray = spool.image("stray.dcm")
    stray.touch()
    os.utime(stray, (0, 0))
    known = spool.image("1200.dcm")
    os.utime(known, (0, 0))
    assert strays(spool, ledger) == ["stray.dcm"]
    clean(spool, ledger, Fetches(database), keep_days=1e-9, keep_study_days=1e-9)
    assert list(tmp_path.glob("spool/images/*")) == []
    assert set(ledger.count_by_state().values()) == {0}
    assert not analyst.run_once()
    database.close()


def test_pauses_double_up_to_a_limit() -> None:
    backoff = Backoff(2.0, 300.0)
    for attempts, longest in ((1, 2), (2, 4), (5, 32), (9, 300), (5000, 300)):
        pauses = [backoff.seconds(attempts) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest
