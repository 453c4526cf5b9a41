"""The programs of docs/how-to/python.md, run as they stand on real radiographs."""

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
    for radiograph, name in (("RG3_UNCR.dcm", "image.dcm"), ("RG1_UNCR.dcm", "chest.dcm")):
        shutil.copy(pydicom_roots()[1] / radiograph, tmp_path / "study" / name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    chest, tibia = run.stdout.splitlines()
    assert chest.startswith("study/chest.dcm not_analysed body_part_not_covered body part not covered: chest")
    assert re.fullmatch(r"study/image\.dcm indeterminate 0\.\d+", tibia)
    assert len(list((tmp_path / "out").glob("SR_*.dcm"))) == 2
