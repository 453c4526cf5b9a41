"""The log: JSON, and nothing in it that another library quotes from a data set."""

from __future__ import annotations

import json
import subprocess
import sys

_PROGRAM = """
import logging, threading, warnings
from monai_bone_ssl.service.events import log_event, start_logging
start_logging()
log_event("sent", study="1.2.3")
warnings.warn("Invalid value for VR PN: 'Testperson^Anna'")
logging.getLogger("pydicom").warning("Testperson^Anna")
try:
    raise ValueError("Testperson^Anna")
except ValueError:
    logging.getLogger("pynetdicom").exception("Testperson^Anna")
def fail():
    raise KeyError("Testperson^Anna")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
"""


def test_every_line_is_json_and_quotes_nobody() -> None:
    run = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert "Testperson" not in run.stdout + run.stderr
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert [line.get("library") for line in lines] == [None, "py.warnings", "pydicom", "pynetdicom", None]
    assert (lines[0]["event"], lines[0]["study"]) == ("sent", "1.2.3")
    assert lines[3]["error"] == "ValueError"
    assert (lines[4]["event"], lines[4]["error"]) == ("fault", "KeyError")
    assert lines[4]["where"].startswith("fail:")
