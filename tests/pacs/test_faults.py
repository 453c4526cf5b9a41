"""What a hospital's night brings: full disks, PACS that are away, stops, two of one name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from outside import small_file_system
from pydicom import dcmread
from pydicom.uid import ComputedRadiographyImageStorage
from pynetdicom import AE

from pacs.node import NODE, SENDER, Node, c_store, make_study
from pacs.orthanc import Orthanc, wait_for


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path / "small", "2m") as folder:
        yield folder


@pytest.mark.parametrize("reserve", [0, 1], ids=["full", "reserve_reached"])
def test_a_full_disk_refuses_until_there_is_room(
    reserve: int, small_disk: Path, run_node: Callable[..., Node], orthanc: Orthanc, tmp_path: Path
) -> None:
    node = run_node(
        c_store(orthanc), top=f'send = "c-store"\nreserve_mb = {reserve}', spool=small_disk / "spool"
    )
    study, paths = make_study(tmp_path / "study", "FULL")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        fill(file)
    assert store(node, paths[0]) == 0xA700
    health = node.health()
    assert health["errors"]["receive"]["code"] in ("write_failed", "ledger_unavailable")
    filler.unlink()
    for path in paths:
        assert store(node, path) == 0
    (report,) = orthanc.wait_for_report(study)
    assert report.CompletionFlag == "COMPLETE"


def fill(file: BinaryIO) -> None:
    with pytest.raises(OSError, match="No space"):
        file.writelines(itertools.repeat(b"x" * 4096))


def store(node: Node, path: Path) -> int:
    """C-STORE one file; gives the status."""
    ae = AE(SENDER)
    ae.add_requested_context(ComputedRadiographyImageStorage)
    association = ae.associate("localhost", node.port, ae_title=NODE)
    assert association.is_established, node.process and node.process.poll()
    status = association.send_c_store(dcmread(path))
    association.release()
    return int(status.Status)


def test_a_pacs_that_is_away_gets_its_reports_when_it_is_back(
    run_node: Callable[..., Node], tmp_path: Path
) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    node = run_node(c_store(orthanc))
    orthanc.stop()
    try:
        study, paths = make_study(tmp_path / "study", "PATIENT-WAITS")
        assert node.storescu(*paths).returncode == 0
        node.wait_for_error("send", "pacs_unreachable", in_a_row=3)
        assert node.count("to_send") == 1
        assert node.log().count('"event":"analysed"') == 1, "a report is made once"
        # Not even a restart makes it forget.
        assert node.stop() == 0
        node.start()
        orthanc.start()
        orthanc.wait_for_report(study)
        node.wait_for_state("sent")
        assert node.health() == {"status": "ok", "errors": {}}
        assert len(orthanc.report_uids()) == 1
        assert "PATIENT-WAITS" not in node.log()
    finally:
        orthanc.stop()


def test_a_pacs_that_refuses_is_told_and_tried_again(
    run_node: Callable[..., Node], orthanc: Orthanc, tmp_path: Path
) -> None:
    """A node of ours plays the PACS: it knows neither the caller nor structured reports."""
    other = run_node(c_store(orthanc), name="other")
    target = f'[pacs]\nhost = "localhost"\nport = {other.port}\nae_title = "{NODE}"\n'
    stranger = run_node(target, name="stranger")
    known = run_node(target + f'calling_ae_title = "{SENDER}"\n', name="known")
    for node in (stranger, known):
        _, paths = make_study(tmp_path / node.folder.name / "study", "REFUSED", 1)
        assert node.storescu(*paths).returncode == 0
        node.wait_for_error("send", "pacs_refused", in_a_row=2)
        assert node.count("to_send") == 1


def test_sigterm_lets_an_open_association_finish(node: Node, orthanc: Orthanc, tmp_path: Path) -> None:
    study, paths = make_study(tmp_path / "study", "STOP")
    ae = AE(SENDER)
    ae.add_requested_context(ComputedRadiographyImageStorage)
    association = ae.associate("localhost", node.port, ae_title=NODE)
    assert association.send_c_store(dcmread(paths[0])).Status == 0
    assert node.process is not None
    node.process.terminate()
    wait_for(lambda: '"stopping"' in node.log(), "the stop to begin")
    assert association.send_c_store(dcmread(paths[1])).Status == 0
    association.release()
    assert node.process.wait(60) == 0
    assert node.events()[-1]["event"] == "stopped"
    node.start()
    (report,) = orthanc.wait_for_report(study)
    assert report.CompletionFlag == "COMPLETE"
    assert len(report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence) == 2


def test_a_second_process_of_one_name_does_not_start(node: Node) -> None:
    running = node.process
    node.start(ready=False)
    assert node.process is not None
    assert node.process.wait(60) == 2
    assert "runs on it already" in node.log()
    node.process = running
    assert node.health()["status"] == "ok"
