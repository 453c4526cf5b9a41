"""The right patient: two studies of two patients, interleaved image by image, many times."""

from __future__ import annotations

import random
from pathlib import Path

import pydicom
from pydicom.uid import ComputedRadiographyImageStorage
from pynetdicom import AE
from validators import dciodvfy, pixelmed

from pacs.node import NODE, SENDER, Node, make_study
from pacs.orthanc import Orthanc, wait_for
from pacs.test_c_store import references, sop_uids

ROUNDS = 50


def test_every_report_is_about_its_own_patient(node: Node, orthanc: Orthanc, tmp_path: Path) -> None:
    ae = AE(SENDER)
    ae.add_requested_context(ComputedRadiographyImageStorage)
    chance = random.Random(0)  # the same order each time
    expected = {}
    for number in range(ROUNDS):
        association = ae.associate("localhost", node.port, ae_title=NODE)
        assert association.is_established
        waiting = []
        for side, bright in (("A", 0.2), ("B", 0.8)):
            patient = f"{number:03d}{side}"
            study, paths = make_study(tmp_path / patient, patient, 2, bright)
            expected[study] = (patient, sop_uids(paths), "Absent" if side == "A" else "Present")
            waiting += paths
        chance.shuffle(waiting)
        for path in waiting:
            assert association.send_c_store(pydicom.dcmread(path)).Status == 0
        association.release()
    wait_for(lambda: node.count("sent") == 2 * ROUNDS, "all reports", 300)
    reports = {
        report.StudyInstanceUID: report for report in orthanc.reports() if report.StudyInstanceUID in expected
    }
    assert reports.keys() == expected.keys()
    for study, (patient, images, answer) in expected.items():
        report = reports[study]
        assert (report.PatientID, report.PatientName) == (patient, f"Patient^{patient}")
        assert references(report) == images
        assert answers(report) == {answer}
        assert len(orthanc.report_uids(study)) == 1
    files = orthanc.save_all(tmp_path / "held")
    assert [path for path in files if dciodvfy(path).errors] == []
    problems = pixelmed(files[::10], tmp_path)  # it takes seconds a report
    assert [path for path, found in problems.items() if found.errors] == []


def answers(item: pydicom.Dataset) -> set[str]:
    """Meanings of all codes at or below a content item that answer the question for a fracture."""
    found = set()
    if item.get("ValueType") == "CODE" and item.ConceptNameCodeSequence[0].CodeMeaning == "Fracture":
        found.add(item.ConceptCodeSequence[0].CodeMeaning)
    for child in item.get("ContentSequence") or []:
        found |= answers(child)
    return found
