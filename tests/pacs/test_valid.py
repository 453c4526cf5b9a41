"""Everything the node sends, as a PACS holds it, under two independent validators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dicom_factory import DX
from pydicom import Dataset, dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    JPEG2000Lossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from validators import dciodvfy, pixelmed

from pacs.node import Node, c_store, make_study
from pacs.orthanc import PASSWORD, USER, Orthanc, free_port
from pacs.test_c_store import sop_uids

EVIDENCE = 'evidence = ["sc", "seg"]'


def stow(orthanc: Orthanc, folder: Path) -> str:
    (folder / "password").write_text(PASSWORD)
    return (
        f'[dicomweb]\nurl = "{orthanc.url}/dicom-web"\nusername = "{USER}"\n'
        f'password_file = "{folder / "password"}"\n'
    )


def send_all_sorts(node: Node, folder: Path) -> dict[str, tuple[str, set[str]]]:
    """Studies that end in every kind of report: Study Instance UID -> patient and analysed images."""
    sent = {}

    def send(name: str, images: int, bright: float, **options: object) -> tuple[str, list[Path]]:
        study, paths = make_study(folder / name, name, images, bright, **options)
        assert node.storescu(*paths, options=["-xv"]).returncode == 0
        sent.setdefault(study, (name, sop_uids(paths)))
        return study, paths

    send("POSITIVE", 2, 0.8, peak=(6, 4))
    send("NEGATIVE", 1, 0.2)
    send("INDETERMINATE", 1, 0.5, peak=(6, 4))
    send("DX", 1, 0.8, sop_class=DX, peak=(6, 4))
    send("J2K", 2, 0.8, transfer_syntax=JPEG2000Lossless, peak=(6, 4))
    send("UMLAUT", 1, 0.8, patient_name="Müller^Jürgen=山田^太郎")
    study, _ = send("PARTLY", 1, 0.8)
    make_study(folder / "chest", "PARTLY", 1, part="CHEST", study_uid=study)
    assert node.storescu(folder / "chest" / "0.dcm").returncode == 0
    return sent


def patients_of(objects: list[Dataset]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for item in objects:
        found.setdefault(item.StudyInstanceUID, set()).add(item.PatientID)
    return found


@pytest.mark.parametrize("route", ["c-store", "stow-rs"])
def test_reports_and_evidence_are_valid_and_of_the_right_patient(
    route: str, run_node: Callable[..., Node], tmp_path: Path
) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    try:
        tables = c_store(orthanc) if route == "c-store" else stow(orthanc, tmp_path)
        node = run_node(tables, top=f'send = "{route}"\n{EVIDENCE}')
        sent = send_all_sorts(node, tmp_path)
        node.wait_for_state("sent", len(sent))
        files = orthanc.save_all(tmp_path / "held")
    finally:
        orthanc.stop()
    held = [dcmread(path) for path in files]
    assert patients_of(held) == {study: {patient} for study, (patient, _) in sent.items()}
    classes = [item.SOPClassUID for item in held]
    images = sum(len(sources) for _, sources in sent.values())
    assert classes.count(Comprehensive3DSRStorage) == len(sent)
    assert classes.count(SecondaryCaptureImageStorage) == images
    assert classes.count(SegmentationStorage) >= 5, "one for each image with a peak"
    for item in held:
        assert any(uid in str(item) for uid in sent[item.StudyInstanceUID][1]), "names its source"

    assert {path.name: dciodvfy(path).errors for path in files} == {path.name: [] for path in files}
    reports = [path for path, uid in zip(files, classes, strict=True) if uid == Comprehensive3DSRStorage]
    problems = pixelmed(reports, tmp_path)
    assert {path.name: problems[path].errors for path in reports} == {path.name: [] for path in reports}


def test_a_report_arrives_where_its_evidence_is_refused(
    run_node: Callable[..., Node], tmp_path: Path
) -> None:
    """The archive knows structured reports and nothing else."""
    stored: list[str] = []

    def keep(event: evt.Event) -> int:
        stored.append(event.request.AffectedSOPClassUID)
        return 0

    archive = AE("ARCHIVE")
    archive.add_supported_context(Comprehensive3DSRStorage)
    port = free_port()
    server = archive.start_server(("localhost", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    assert server is not None
    try:
        node = run_node(
            f'[pacs]\nhost = "localhost"\nport = {port}\nae_title = "ARCHIVE"\n',
            top='send = "c-store"\nevidence = ["sc"]',
        )
        _, paths = make_study(tmp_path / "study", "NO-PICTURES", 1)
        assert node.storescu(*paths).returncode == 0
        node.wait_for_error("send", "pacs_refused", in_a_row=2)
        assert node.count("to_send") == 1
        assert set(stored) == {Comprehensive3DSRStorage}
    finally:
        server.shutdown()


def test_evidence_that_the_header_does_not_allow_is_left_out(
    run_node: Callable[..., Node], orthanc: Orthanc, tmp_path: Path
) -> None:
    def silence(dataset: Dataset) -> None:
        dataset.PatientOrientation = None

    node = run_node(c_store(orthanc), top=f'send = "c-store"\n{EVIDENCE}')
    study, paths = make_study(tmp_path / "study", "SILENT", 1, edit=silence)
    assert node.storescu(*paths).returncode == 0
    orthanc.wait_for_report(study)
    node.wait_for_state("sent")
    told = [event["reason"] for event in node.events() if event["event"] == "evidence_left_out"]
    assert told == ["missing_identifier"] * 2
