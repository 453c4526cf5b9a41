"""DICOMweb behind a bearer token, from a file that changes or from the environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pacs.node import Node, make_study
from pacs.orthanc import Orthanc, wait_for
from pacs.test_dicomweb import TOP, today
from pacs.token_proxy import TokenProxy


def tables(url: str, token_file: Path | None = None) -> str:
    token = f'token_file = "{token_file}"\n' if token_file else ""
    return f'[dicomweb]\nurl = "{url}/dicom-web"\n{token}[poll]\nevery_seconds = 0.5\n'


def test_studies_are_fetched_and_reports_stored_with_a_token_that_changes(
    run_node: Callable[..., Node], tmp_path: Path
) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    file = tmp_path / "token"
    file.write_text("first-token\n")
    try:
        study, paths = make_study(tmp_path / "study", "TOKEN", 2, edit=today)
        orthanc.upload(*paths)
        with TokenProxy(orthanc, "second-token").running() as proxy:
            node = run_node(tables(proxy.url, file), top=TOP)
            node.wait_for_error("fetch", "pacs_refused")
            assert set(proxy.refused) == {"Bearer first-token"}
            assert proxy.accepted == []
            assert node.ledger("select * from studies") == []

            file.write_text("second-token\n")  # no restart: a secret store writes it anew
            (report,) = orthanc.wait_for_report(study)
            assert report.PatientID == "TOKEN"
            node.wait_for_state("sent")
            wait_for(lambda: not node.health()["errors"], "the refusal to be over")
            assert {"GET /dicom-web/studies", "POST /dicom-web/studies"} <= set(proxy.accepted)
            retrieved = [request for request in proxy.accepted if "/instances/" in request]
            assert len(retrieved) == len(paths), "WADO-RS"
            assert "token" not in node.log().replace("token_file", "")
    finally:
        orthanc.stop()


def test_a_token_comes_from_the_environment(
    run_node: Callable[..., Node], orthanc: Orthanc, tmp_path: Path
) -> None:
    study, paths = make_study(tmp_path / "study", "VARIABLE", 1, edit=today)
    orthanc.upload(*paths)
    with TokenProxy(orthanc, "from-outside").running() as proxy:
        blind = run_node(tables(proxy.url), name="blind", top=TOP)
        blind.wait_for_error("fetch", "pacs_refused")
        assert set(proxy.refused) == {None}
        blind.kill()
        run_node(tables(proxy.url), top=TOP, environment={"BONE_SSL_DICOMWEB_TOKEN": "from-outside"})
        (report,) = orthanc.wait_for_report(study)
        assert report.PatientID == "VARIABLE"
