"""The programs of docs/how-to/python.md, run as they stand on a real radiograph."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pydicom_files import pydicom_roots

ROOT = Path(__file__).parent.parent


def test_the_page_s_programs_run(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/python.md").read_text()
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    (tmp_path / "study").mkdir()
    shutil.copy(pydicom_roots()[1] / "RG3_UNCR.dcm", tmp_path / "study/image.dcm")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert re.match(r"study/image\.dcm analysed positive 0\.\d+ None", run.stdout)
    assert len(list((tmp_path / "out").glob("SR_*.dcm"))) == 1
