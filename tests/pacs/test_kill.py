"""kill -9 at random moments under a stream of studies: none is lost, none is answered twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from validators import dciodvfy, pixelmed

from pacs.node import Node, c_store, make_study
from pacs.orthanc import Orthanc, wait_for
from pacs.test_c_store import references, sop_uids


@pytest.mark.parametrize(
    ("kills", "studies"),
    [pytest.param(10, 40, id="short"), pytest.param(50, 200, id="long", marks=pytest.mark.slow)],
)
def test_one_report_a_study_whenever_the_service_is_killed(
    kills: int, studies: int, run_node: Callable[..., Node], tmp_path: Path
) -> None:
    chance = random.Random(kills)  # the same moments each time
    orthanc = Orthanc(tmp_path / "orthanc")
    node = run_node(c_store(orthanc))
    expected = {}
    for number in range(studies):
        study, paths = make_study(tmp_path / f"{number}", f"P{number:04d}", chance.randint(1, 3))
        expected[study] = paths
    stream = _Stream(node, list(expected.values()))
    stream.start()
    hit: Counter[str] = Counter()
    try:
        for number in range(kills):
            stream.let_go(studies // kills)
            if number % 5 != 4:  # or it is killed while it starts
                wait_for(node._is_ready, "the service to be ready")
            time.sleep(chance.uniform(0.0, 4.0))
            node.kill()
            hit.update({state for (state,) in node.ledger("select state from studies")})
            if number % 5 == 2:  # the archive goes away as well
                orthanc.stop()
                node.start()
                time.sleep(chance.uniform(0.0, 4.0))
                node.kill()
                hit.update({state for (state,) in node.ledger("select state from studies")})
                orthanc.start()
            node.start(ready=False)
        stream.join(900)
        assert not stream.is_alive()
        wait_for(node._is_ready, "the service to be ready")
        wait_for(lambda: node.count("sent") == studies, "all reports", 600)
        print("kills that found studies in a state:", dict(hit))
        assert {"received", "to_send"} <= set(hit), "or no kill has interrupted anything"
        reports = orthanc.reports()
        assert sorted(report.StudyInstanceUID for report in reports) == sorted(expected)
        for report in reports:
            paths = expected[report.StudyInstanceUID]
            assert references(report) == sop_uids(paths)
            assert report.PatientID == pydicom.dcmread(paths[0]).PatientID
        files = orthanc.save_all(tmp_path / "held")
        assert len(files) == studies
        assert [path for path in files if dciodvfy(path).errors] == []
        problems = pixelmed(files[::10], tmp_path)  # it takes seconds a report
        assert [path for path, found in problems.items() if found.errors] == []
        assert [line for line in node.events() if line["event"] == "fault"] == []
    finally:
        stream.cancelled.set()
        orthanc.stop()


class _Stream(threading.Thread):
    """A modality: it sends study after study, and each until all of it is acknowledged."""

    def __init__(self, node: Node, studies: list[list[Path]]) -> None:
        super().__init__(name="modality", daemon=True)
        self.cancelled = threading.Event()
        self._taken = threading.Semaphore(0)
        self._node = node
        self._studies = studies

    def let_go(self, studies: int) -> None:
        """So many more may be sent."""
        for _ in range(studies):
            self._taken.release()

    def run(self) -> None:
        for paths in self._studies:
            self._taken.acquire()
            while not self.cancelled.is_set() and self._node.storescu(*paths).returncode != 0:
                time.sleep(0.2)
