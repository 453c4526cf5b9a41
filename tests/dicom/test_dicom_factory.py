"""The radiographs that other tests are made with are radiographs by the standard."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_factory import CR, DX, DX_RAW, XRF, limb_pixels, make_radiograph
from pydicom import uid
from validators import dciodvfy


@pytest.mark.parametrize(
    ("sop_class", "photometric"),
    [
        (CR, "MONOCHROME1"),
        (CR, "MONOCHROME2"),
        (DX, "MONOCHROME1"),
        (DX, "MONOCHROME2"),
        (DX_RAW, "MONOCHROME1"),
        (XRF, "MONOCHROME2"),  # the only one for XRF
    ],
)
def test_synthetic_radiographs_are_valid(sop_class: uid.UID, photometric: str, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "i.dcm", limb_pixels(), sop_class=sop_class, photometric=photometric)
    assert dciodvfy(path).errors == []
