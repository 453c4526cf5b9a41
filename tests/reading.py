"""What becomes of a file that is read as a radiograph: its pixels, or the reason why not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom import Dataset

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import BoneSSLError, CorruptImage, ReasonCode, UnsupportedImage

UNSUPPORTED = {
    ReasonCode.NOT_DICOM,
    ReasonCode.UNSUPPORTED_SOP_CLASS,
    ReasonCode.MULTI_FRAME,
    ReasonCode.COLOUR,
    ReasonCode.NOT_FOR_PRESENTATION,
    ReasonCode.MISSING_PIXEL_DATA,
    ReasonCode.IMAGE_TOO_SMALL,
    ReasonCode.TOO_LARGE,
    ReasonCode.BLANK_IMAGE,
}


def normalised(pixels: Any) -> Any:
    """[H, W] stored values over their full range: what is shown without VOI."""
    values = pixels.astype(float)
    return (values - values.min()) / (values.max() - values.min())


def refusal(path: Path) -> BoneSSLError | None:
    """Why a file is refused, after the rules that hold for every error; None where it is read."""
    try:
        read_radiograph(path)
    except BoneSSLError as error:
        caught = error
    else:
        return None
    assert len(caught.text.splitlines()) == 1
    assert "Testperson" not in caught.text
    assert "TEST-0001" not in caught.text
    assert isinstance(caught, UnsupportedImage if caught.code in UNSUPPORTED else CorruptImage)
    return caught


def reason(path: Path) -> ReasonCode | None:
    """Reason code of a refusal."""
    error = refusal(path)
    return None if error is None else error.code


def put(**elements: Any) -> Callable[[Dataset], None]:
    """Set elements, or delete those whose value is None."""

    def edit(dataset: Dataset) -> None:
        for keyword, value in elements.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)

    return edit


# A program that reads a radiograph and prints its shape or its reason, and its peak memory in MiB.
_READ = """
import re, sys
from pathlib import Path
from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.errors import BoneSSLError
try:
    print(read_radiograph(Path(sys.argv[1])).pixels.shape)
except BoneSSLError as error:
    print(error.code)
status = Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) // 1024)
"""


def outcome_and_memory(path: Path) -> tuple[str, int]:
    """What reading the file ends in, in a process of its own, and the most memory it took in MiB."""
    run = subprocess.run([sys.executable, "-c", _READ, path], capture_output=True, text=True, check=True)
    outcome, memory = run.stdout.splitlines()
    return outcome, int(memory)
