"""An analysis that stands still, or takes its process down, and a service that stands still."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

import pytest
from dicom_factory import make_radiograph
from tiny_model import draw

from monai_bone_ssl.errors import ReasonCode, ServiceError
from monai_bone_ssl.service.analysis import Job, JobOutcome
from monai_bone_ssl.service.analysis_process import AnalysisProcess
from monai_bone_ssl.service.tables import StudyState
from pacs.node import Node, c_store, make_study
from pacs.orthanc import Orthanc, wait_for


@pytest.fixture
def process(tiny_folder: Path) -> Iterator[AnalysisProcess]:
    process = AnalysisProcess(tiny_folder, (), limit=300.0)
    yield process
    process.end()


def job(folder: Path, image: Path) -> Job:
    return Job("1.2.3", [str(image)], {}, str(folder))


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file that never comes to an end: a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "endless.dcm")
    return tmp_path / "endless.dcm"


def test_an_analysis_that_takes_too_long_is_ended_and_the_next_one_is_done(
    process: AnalysisProcess, endless: Path, tmp_path: Path
) -> None:
    image = make_radiograph(tmp_path / "image.dcm", draw(0.8), study_uid="1.2.3")
    assert process.analyse(job(tmp_path, image)).state is StudyState.TO_SEND  # it has started now
    process._limit = 1.0
    begun = time.monotonic()
    assert process.analyse(job(tmp_path, endless)) == JobOutcome(StudyState.FAILED, ReasonCode.TIME_LIMIT)
    assert time.monotonic() - begun < 10
    assert multiprocessing.active_children() == []
    process._limit = 300.0
    answer = process.analyse(job(tmp_path, image))
    assert answer.state is StudyState.TO_SEND
    assert (tmp_path / answer.files[0]).exists()


def test_a_process_that_dies_in_the_middle_is_an_error_that_may_pass(
    process: AnalysisProcess, endless: Path, tmp_path: Path
) -> None:
    image = make_radiograph(tmp_path / "image.dcm", draw(0.8), study_uid="1.2.3")
    process.analyse(job(tmp_path, image))
    (child,) = multiprocessing.active_children()
    timer = Timer(0.5, child.kill)
    timer.start()
    with pytest.raises(ServiceError) as caught:
        process.analyse(job(tmp_path, endless))
    timer.join()
    assert caught.value.code is ReasonCode.ANALYSIS_DIED
    assert process.analyse(job(tmp_path, image)).state is StudyState.TO_SEND


def test_a_study_over_the_time_limit_fails_and_the_service_goes_on(
    run_node: Callable[..., Node], orthanc: Orthanc, tmp_path: Path
) -> None:
    node = run_node(c_store(orthanc), top='send = "c-store"\nanalysis_limit_seconds = 30\nquiet_seconds = 3')
    slow, paths = make_study(tmp_path / "slow", "SLOW", 1)
    assert node.storescu(*paths).returncode == 0
    (image,) = node.spool.glob("images/*.dcm")
    image.unlink()
    os.mkfifo(image)
    node.wait_for_state("failed")
    assert node.ledger("select study_instance_uid, reason from studies") == [(slow, "time_limit")]
    study, paths = make_study(tmp_path / "study", "QUICK", 1)
    assert node.storescu(*paths).returncode == 0
    orthanc.wait_for_report(study)
    assert node.health()["status"] == "ok"


def test_a_service_that_stands_still_is_not_live(run_node: Callable[..., Node], orthanc: Orthanc) -> None:
    """Another process holds the ledger's lock: no thread gets on."""
    node = run_node(c_store(orthanc), top='send = "c-store"\nanalysis_limit_seconds = 2')
    connection = sqlite3.connect(node.spool / "ledger.sqlite", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        wait_for(lambda: node.health()["status"] == "unavailable", "the service to be not live")
    finally:
        connection.execute("ROLLBACK")
        connection.close()
    wait_for(lambda: node.health()["status"] == "ok", "the service to be live again")
