"""A real PACS for the tests: Debian's Orthanc. It listens on all addresses, so: in a network namespace."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import requests
from outside import file, program
from pydicom import Dataset

USER, PASSWORD = "tester", "orthanc-password"
AE_TITLE = "ORTHANC"
_PLUGINS = Path("/usr/share/orthanc/plugins")
_PACKAGES = {"libOrthancDicomWeb.so": "orthanc-dicomweb", "libOrthancGdcm.so": "orthanc-gdcm"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Any, what: str, seconds: float = 120.0) -> Any:
    """Poll until a condition is truthy, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


class Orthanc:
    """One archive; its data stay in ``folder`` over a stop and a start.

    Parameters
    ----------
    folder
        Empty folder for its data.
    dicom_tls
        Orthanc's settings for TLS in DIMSE.
    """

    def __init__(self, folder: Path, dicom_tls: dict[str, Any] | None = None) -> None:
        program("Orthanc", "orthanc")
        plugins = [file(_PLUGINS / name, package) for name, package in _PACKAGES.items()]
        self.folder = folder
        self.dicom_port, self.http_port = free_port(), free_port()
        folder.mkdir(parents=True)
        settings = {
            "Name": "tests",
            "StorageDirectory": str(folder),
            "IndexDirectory": str(folder),
            "Plugins": [str(plugin) for plugin in plugins],
            "DicomAet": AE_TITLE,
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "DicomAlwaysAllowFind": True,
            "MaximumStorageCacheSize": 0,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "RemoteAccessAllowed": True,
            **(dicom_tls or {}),
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self.start()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.http_port}"

    def start(self) -> None:
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["Orthanc", str(self.folder / "orthanc.json")], stdout=log, stderr=log
            )
        wait_for(self._answers, "Orthanc to start")

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "orthanc.log").read_text()
        try:
            return self._get("/system").ok
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _get(self, path: str, **parameters: str) -> requests.Response:
        return requests.get(self.url + path, params=parameters, auth=(USER, PASSWORD), timeout=30)

    def _post(self, path: str, data: bytes) -> requests.Response:
        response = requests.post(self.url + path, data=data, auth=(USER, PASSWORD), timeout=30)
        assert response.ok, response.text
        return response

    def upload(self, *paths: Path) -> None:
        for path in paths:
            self._post("/instances", path.read_bytes())

    def report_uids(self, study_uid: str | None = None) -> list[tuple[str, str, str]]:
        """Study, series and SOP Instance UID of all reports, found by QIDO-RS."""
        filters = {"Modality": "SR", "limit": "1000"} | ({"StudyInstanceUID": study_uid} if study_uid else {})
        response = self._get("/dicom-web/instances", **filters)
        assert response.ok, response.text
        tags = ("0020000D", "0020000E", "00080018")
        return [tuple(item[tag]["Value"][0] for tag in tags) for item in response.json()]

    def reports(self, study_uid: str | None = None) -> list[Dataset]:
        """All reports as they come back."""
        found = []
        for _, _, sop_uid in self.report_uids(study_uid):
            (found_as,) = self._post("/tools/lookup", sop_uid.encode()).json()
            found.append(pydicom.dcmread(BytesIO(self._get(f"/instances/{found_as['ID']}/file").content)))
        return found

    def save_all(self, folder: Path) -> list[Path]:
        """Everything it holds that no modality sent: reports and evidence, each as a file."""
        folder.mkdir()
        saved = []
        for identifier in self._get("/instances").json():
            content = self._get(f"/instances/{identifier}/file").content
            if pydicom.dcmread(BytesIO(content), specific_tags=["Modality"]).Modality not in ("CR", "DX"):
                saved.append(folder / f"{identifier}.dcm")
                saved[-1].write_bytes(content)
        return saved

    def wait_for_report(self, study_uid: str, count: int = 1) -> list[Dataset]:
        wait_for(lambda: len(self.report_uids(study_uid)) >= count, f"{count} reports on {study_uid}")
        return self.reports(study_uid)
