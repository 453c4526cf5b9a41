"""Two services on one PostgreSQL and one spool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pacs.node import Node, c_store, make_study
from pacs.orthanc import Orthanc, wait_for


def test_replicas_share_the_work_and_take_it_over(
    run_node: Callable[..., Node], orthanc: Orthanc, postgresql: str, tmp_path: Path
) -> None:
    first, second = (
        run_node(
            c_store(orthanc),
            name=name,
            top=f'send = "c-store"\nreplica = "{name}"',
            spool=tmp_path / "spool",
            environment={"BONE_SSL_LEDGER_URL": postgresql},
        )
        for name in ("first", "second")
    )
    expected = {}
    for number in range(12):
        study, paths = make_study(tmp_path / f"{number}", f"SHARED{number}", 2)
        expected[study] = f"SHARED{number}"
        # Images of one study come to both.
        for path, node in zip(paths, (first, second), strict=True):
            assert node.storescu(path).returncode == 0
    first.kill()
    wait_for(lambda: second.count("sent") == len(expected), "all reports")
    reports = [report for report in orthanc.reports() if report.StudyInstanceUID in expected]
    assert {report.StudyInstanceUID: report.PatientID for report in reports} == expected
    assert len(reports) == len(expected)
    for report in reports:
        assert report.CompletionFlag == "COMPLETE"
        assert len(report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence) == 2
    assert not (tmp_path / "spool" / "ledger.sqlite").exists()
