"""C-STORE in, C-STORE out, judged by what a PACS then holds."""

from __future__ import annotations

import re
from pathlib import Path

import pydicom
import pytest
from dicom_factory import make_radiograph
from pydicom import Dataset
from pydicom.uid import (
    JPEG2000,
    ComputedRadiographyImageStorage,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    generate_uid,
)
from pynetdicom import AE
from tiny_model import draw
from validators import dciodvfy, run_tool

from pacs.node import NODE, SENDER, Node, make_study
from pacs.orthanc import AE_TITLE, Orthanc


def references(report: Dataset) -> set[str]:
    """SOP Instance UIDs of the images a report is about."""
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    return {
        item.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


def data_set(path: Path) -> bytes:
    """A file's bytes after the file meta information, which says who wrote the file."""
    meta = pydicom.filereader.read_file_meta_info(path)
    return path.read_bytes()[144 + meta.FileMetaInformationGroupLength :]


def sop_uids(paths: list[Path]) -> set[str]:
    return {pydicom.dcmread(path).SOPInstanceUID for path in paths}


def test_a_study_sent_by_storescu_comes_back_as_a_report(
    node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    study, paths = make_study(tmp_path / "study", "P-4711")
    run = node.storescu(*paths)
    assert run.returncode == 0, run.stderr
    (report,) = orthanc.wait_for_report(study)  # found by QIDO-RS
    assert (report.PatientID, report.PatientName) == ("P-4711", "Patient^P-4711")
    assert references(report) == sop_uids(paths)
    node.wait_for_state("sent")

    found = run_tool(
        "findscu", "-S", "-aec", AE_TITLE, "localhost", str(orthanc.dicom_port),
        "-k", "QueryRetrieveLevel=IMAGE", "-k", f"StudyInstanceUID={study}",
        "-k", f"SeriesInstanceUID={report.SeriesInstanceUID}", "-k", "SOPInstanceUID",
    )  # fmt: skip
    assert re.findall(r"\(0008,0018\) UI \[([\d.]+)", found.stdout + found.stderr) == [report.SOPInstanceUID]

    (written,) = node.spool.rglob("SR_*.dcm")
    assert pydicom.dcmread(written) == report, "what was retrieved is what was written"
    (back,) = [path for path in orthanc.save_all(tmp_path / "held") if pydicom.dcmread(path) == report]
    assert data_set(back) == data_set(written), "byte for byte"
    assert dciodvfy(back).errors == []

    log = node.log()
    assert study in log
    assert not re.search("P-4711|Patient\\^|19700101", log + node.metrics() + str(node.health()))
    assert node.health() == {"status": "ok", "errors": {}}


@pytest.mark.parametrize(
    ("syntax", "option"),
    [(JPEG2000Lossless, "-xv"), (JPEG2000, "-xw"), (JPEGLosslessSV1, "-xs")],
    ids=["jpeg2000_lossless", "jpeg2000", "jpeg_lossless"],
)
def test_compressed_sources(
    syntax: pydicom.uid.UID, option: str, node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    study, paths = make_study(tmp_path / "study", "COMPRESSED", transfer_syntax=syntax)
    run = node.storescu(*paths, options=[option])
    assert run.returncode == 0, run.stderr
    (report,) = orthanc.wait_for_report(study)
    assert references(report) == sop_uids(paths)
    assert report.CompletionFlag == "COMPLETE", "all images were analysed"
    (kept,) = {pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in node.spool.glob("images/*.dcm")}
    assert kept == syntax, "kept as it was sent"


def test_a_stranger_is_rejected(node: Node, tmp_path: Path) -> None:
    _, paths = make_study(tmp_path / "study", "STRANGER")
    run = node.storescu(*paths, calling="STRANGER")
    assert run.returncode != 0
    assert "Rejected" in run.stderr
    assert node.ledger("select * from studies") == []
    assert "association_rejected" in node.log()


def test_a_study_sent_again_gives_no_second_report(node: Node, orthanc: Orthanc, tmp_path: Path) -> None:
    study, paths = make_study(tmp_path / "study", "AGAIN")
    assert node.storescu(*paths).returncode == 0
    (first,) = orthanc.wait_for_report(study)
    node.wait_for_state("sent")
    assert node.storescu(*paths).returncode == 0
    assert [event["event"] for event in node.events()].count("received_again") == 2
    # A study that comes after it is answered: so would this one have been.
    other, more = make_study(tmp_path / "other", "OTHER")
    assert node.storescu(*more).returncode == 0
    orthanc.wait_for_report(other)
    assert [event["event"] for event in node.events() if event.get("study") == study].count("analysed") == 1
    assert orthanc.reports(study) == [first]
    assert len(list(node.spool.glob("images/*"))) == 4


def test_a_late_image_gives_a_report_on_the_whole_study(node: Node, orthanc: Orthanc, tmp_path: Path) -> None:
    study, paths = make_study(tmp_path / "study", "LATE", images=3)
    assert node.storescu(*paths[:2]).returncode == 0
    orthanc.wait_for_report(study)
    node.wait_for_state("sent")
    assert node.storescu(paths[2]).returncode == 0
    reports = orthanc.wait_for_report(study, count=2)
    assert sorted(map(references, reports), key=len) == [sop_uids(paths[:2]), sop_uids(paths)]
    assert len({report.SOPInstanceUID for report in reports}) == 2


def test_nothing_is_sent_on_what_the_model_was_not_made_for(
    node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    study, paths = make_study(tmp_path / "study", "CHEST", part="CHEST")
    assert node.storescu(*paths).returncode == 0
    node.wait_for_state("nothing_eligible")
    assert node.ledger("select state, reason from studies") == [("nothing_eligible", "body_part_not_covered")]
    assert orthanc.report_uids(study) == []


def test_two_patients_in_one_study_give_no_report(node: Node, orthanc: Orthanc, tmp_path: Path) -> None:
    study, paths = make_study(tmp_path / "one", "ONE")
    _, others = make_study(tmp_path / "two", "TWO", study_uid=study)
    assert node.storescu(*paths, *others).returncode == 0
    node.wait_for_state("failed")
    assert node.ledger("select reason from studies") == [("conflicting_patient",)]
    assert orthanc.report_uids(study) == []


def test_one_instance_with_two_contents_is_not_analysed(node: Node, orthanc: Orthanc, tmp_path: Path) -> None:
    study, uid = generate_uid(), generate_uid()
    for seed, name in enumerate(("first", "second")):
        path = make_radiograph(tmp_path / name, draw(0.8, seed=seed), study_uid=study, sop_uid=uid)
        assert node.storescu(path).returncode == 0
    node.wait_for_state("failed")
    assert node.ledger("select reason from studies") == [("conflicting_instance",)]
    assert orthanc.report_uids(study) == []


def test_a_data_set_without_a_study_is_refused(node: Node, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "in.dcm", draw(0.8))
    dataset = pydicom.dcmread(path)
    del dataset.StudyInstanceUID
    ae = AE(SENDER)
    ae.add_requested_context(ComputedRadiographyImageStorage)
    association = ae.associate("localhost", node.port, ae_title=NODE)
    status = association.send_c_store(dataset)
    association.release()
    assert status.Status == 0xC000
    assert node.ledger("select * from studies") == []
    assert list(node.spool.glob("images/*")) == []


def test_reports_are_not_taken(node: Node, orthanc: Orthanc, tmp_path: Path) -> None:
    """A PACS that forwards all it gets would send our own reports back."""
    study, paths = make_study(tmp_path / "study", "ECHO", images=1)
    assert node.storescu(*paths).returncode == 0
    orthanc.wait_for_report(study)
    (written,) = node.spool.rglob("SR_*.dcm")
    run = node.storescu(written)
    assert run.returncode != 0
    assert "No presentation context" in run.stderr or "No Acceptable Presentation Contexts" in run.stderr
