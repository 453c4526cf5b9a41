"""``bone-ssl serve`` as a process of its own, and ways to send it images."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from analyses import ROOT
from dicom_factory import make_radiograph
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from tiny_model import draw
from validators import run_tool

from pacs.orthanc import AE_TITLE, Orthanc, free_port, wait_for

NODE, SENDER = "BONESSL", "CR1"


class Node:
    """The service under test.

    Parameters
    ----------
    folder
        For its settings, spool and log.
    model
        Model folder.
    tables
        TOML that names where reports go, and whatever else a test needs.
    top
        TOML before the first table.
    """

    def __init__(
        self,
        folder: Path,
        model: Path,
        tables: str,
        *,
        top: str = 'send = "c-store"',
        spool: Path | None = None,
        receiver: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.spool = spool or folder / "spool"
        self.port, self.status_port = free_port(), free_port()
        self.environment = environment or {}
        folder.mkdir(parents=True, exist_ok=True)
        defaults = {
            "quiet_seconds": 1,
            "lease_seconds": 5,
            "retry_seconds": 0.2,
            "retry_limit_seconds": 1,
            "reserve_mb": 0,
            "stop_seconds": 10,
        }
        lines = [f"{key} = {value}" for key, value in defaults.items() if key not in top]
        (folder / "serve.toml").write_text(
            f'spool = "{self.spool}"\nmodel = "{model}"\n{top}\n'
            + "\n".join(lines)
            + f'\n[receiver]\nae_title = "{NODE}"\nport = {self.port}\ncalling_ae_titles = ["{SENDER}"]\n'
            + f"{receiver}\n[status]\nport = {self.status_port}\n{tables}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, ready: bool = True) -> Node:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-B", "-m", "monai_bone_ssl.cli", "serve", "--config", self._config],
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | self.environment,
            )
        if ready:
            wait_for(self._is_ready, "the service to be ready")
        return self

    @property
    def _config(self) -> str:
        return str(self.folder / "serve.toml")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            return requests.get(self._url("/healthz/ready"), timeout=5).ok
        except requests.ConnectionError:
            return False

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.status_port}{path}"

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines()]

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = requests.get(self._url("/healthz/live"), timeout=5).json()
        return answer

    def metrics(self) -> str:
        return requests.get(self._url("/metrics"), timeout=10).text

    def count(self, state: str) -> int:
        """Studies in a state, as Prometheus is told."""
        (line,) = [
            line for line in self.metrics().splitlines() if f'bone_ssl_studies{{state="{state}"}}' in line
        ]
        return int(float(line.split()[-1]))

    def wait_for_state(self, state: str, count: int = 1, seconds: float = 120) -> None:
        wait_for(lambda: self.count(state) == count, f"{count} studies {state}", seconds)

    def wait_for_error(self, stage: str, code: str, in_a_row: int = 1) -> None:
        def is_told() -> bool:
            error = self.health()["errors"].get(stage, {})
            return error.get("code") == code and error["in_a_row"] >= in_a_row

        wait_for(is_told, f"{code} of {stage}")

    def ledger(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.spool / "ledger.sqlite")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def storescu(
        self, *paths: Path, calling: str = SENDER, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """dcmtk's C-STORE."""
        return run_tool(
            "storescu", *options, "-aet", calling, "-aec", NODE, "localhost", str(self.port), *paths
        )


def c_store(orthanc: Orthanc) -> str:
    """Settings that send reports to an archive by C-STORE."""
    return f'[pacs]\nhost = "localhost"\nport = {orthanc.dicom_port}\nae_title = "{AE_TITLE}"\n'


def make_study(
    folder: Path, patient: str, images: int = 2, bright: float = 0.8, part: str = "HAND", **options: Any
) -> tuple[str, list[Path]]:
    """A study of one patient: its UID and files."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = options.pop("study_uid", None) or str(generate_uid())
    peak = options.pop("peak", None)
    values = {"patient_name": f"Patient^{patient}", "transfer_syntax": ExplicitVRLittleEndian} | options
    paths = [
        make_radiograph(
            folder / f"{number}.dcm",
            draw(bright, "hand", peak=peak, seed=number),
            study_uid=uid,
            patient_id=patient,
            body_part=part,
            **values,
        )
        for number in range(images)
    ]
    return uid, paths
