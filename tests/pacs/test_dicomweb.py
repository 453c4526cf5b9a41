"""Studies fetched by QIDO-RS and WADO-RS, reports stored by STOW-RS."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless
from validators import dciodvfy

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
