"""Studies fetched by QIDO-RS and WADO-RS, reports stored by STOW-RS."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless
from validators import dciodvfy

from monai_bone_ssl.errors import ReasonCode, ServiceError
from monai_bone_ssl.service.dicomweb import DicomWeb, Poller, RemoteInstance
from monai_bone_ssl.service.intake import Intake
from monai_bone_ssl.service.ledger import Ledger
from monai_bone_ssl.service.settings import DicomWebSettings, PollSettings
from monai_bone_ssl.service.spool import Spool
from monai_bone_ssl.service.status import ServiceMetrics
from pacs.node import Node, make_study
from pacs.orthanc import PASSWORD, USER, Orthanc, wait_for

TOP = 'send = "stow-rs"\nquiet_seconds = 2'


def tables(url: str, password_file: Path, ca: Path | None = None) -> str:
    password_file.write_text(PASSWORD + "\n")
    authority = f'ca = "{ca}"\n' if ca else ""
    return (
        f'[dicomweb]\nurl = "{url}/dicom-web"\nusername = "{USER}"\n'
        f'password_file = "{password_file}"\n{authority}[poll]\nevery_seconds = 0.5\n'
    )


def today(dataset: Dataset) -> None:
    dataset.StudyDate = f"{date.today():%Y%m%d}"


def test_new_studies_are_fetched_and_answered_in_the_archive(
    run_node: Callable[..., Node], tmp_path: Path
) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    try:
        study, paths = make_study(
            tmp_path / "study", "POLLED", 3, edit=today, transfer_syntax=JPEG2000Lossless
        )
        orthanc.upload(*paths)
        node = run_node(tables(orthanc.url, tmp_path / "password"), top=TOP)
        (report,) = orthanc.wait_for_report(study)
        assert report.PatientID == "POLLED"
        assert report.CompletionFlag == "COMPLETE"
        node.wait_for_state("sent")
        (written,) = node.spool.rglob("SR_*.dcm")
        assert pydicom.dcmread(written) == report
        assert dciodvfy(written).errors == []
        kept = [pydicom.dcmread(path) for path in node.spool.glob("images/*.dcm")]
        assert {image.SOPInstanceUID for image in kept} == {pydicom.dcmread(p).SOPInstanceUID for p in paths}
        assert {image.file_meta.TransferSyntaxUID for image in kept} == {JPEG2000Lossless}

        # Our own report is an object of the study now: it must not be fetched, nor the study done again.
        other, more = make_study(tmp_path / "other", "LATER", 1, edit=today)
        orthanc.upload(*more)
        orthanc.wait_for_report(other)
        assert len(orthanc.report_uids()) == 2
        assert len(list(node.spool.glob("images/*.dcm"))) == 4
        assert PASSWORD not in node.log()

        # A node that has lost its memory does all again, and the archive is none the worse.
        before = sorted(orthanc.report_uids())
        assert node.stop() == 0
        again = run_node(tables(orthanc.url, tmp_path / "password"), name="again", top=TOP)
        again.wait_for_state("sent", 2)
        assert sorted(orthanc.report_uids()) == before
    finally:
        orthanc.stop()


def test_a_wrong_password_is_told_and_a_new_one_is_read(
    run_node: Callable[..., Node], tmp_path: Path
) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    try:
        study, paths = make_study(tmp_path / "study", "SECRET", 1, edit=today)
        orthanc.upload(*paths)
        settings = tables(orthanc.url, tmp_path / "password")
        (tmp_path / "password").write_text("wrong")
        node = run_node(settings, top=TOP)
        wait_for(lambda: "fetch" in node.health()["errors"], "the refusal to be told")
        assert node.health()["errors"]["fetch"]["code"] == "pacs_refused"
        (tmp_path / "password").write_text(PASSWORD)
        orthanc.wait_for_report(study)
        wait_for(lambda: not node.health()["errors"], "the refusal to be over")
    finally:
        orthanc.stop()


def test_a_study_is_not_complete_before_all_of_it_was_fetched(
    orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive fails in the middle of a study, which is quiet for long then."""
    study, paths = make_study(tmp_path / "study", "HALF", 4, edit=today)
    orthanc.upload(*paths)
    (tmp_path / "password").write_text(PASSWORD)
    web = DicomWeb(
        DicomWebSettings(url=f"{orthanc.url}/dicom-web", username=USER, password_file=tmp_path / "password")
    )
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", "replica", 60)
    intake = Intake(Spool(tmp_path / "spool", 0), ledger)
    poller = Poller(web, intake, ledger, PollSettings(), ServiceMetrics())
    missing = str(pydicom.dcmread(paths[0]).SOPInstanceUID)

    def retrieve(study: str, instance: RemoteInstance) -> bytes:
        if instance.sop_instance_uid == missing:
            raise ServiceError(ReasonCode.PACS_UNREACHABLE, "away")
        return DicomWeb.retrieve(web, study, instance)

    with monkeypatch.context() as patch:
        patch.setattr(web, "retrieve", retrieve)
        for _ in range(2):
            with pytest.raises(ServiceError, match="away"):
                poller.run_once()
    later = time.time() + 3600
    assert study in ledger.held()
    assert ledger.complete_quiet_studies(before=later, now=later) == 0
    poller.run_once()
    assert ledger.known_sop_instances(study) == {pydicom.dcmread(path).SOPInstanceUID for path in paths}
    assert ledger.held() == []
    assert ledger.complete_quiet_studies(before=later, now=later) >= 1
    ledger.close()
