"""Results as the page of an analysis takes them, and the page of all kinds of them."""

from __future__ import annotations

import msgspec
import numpy as np
from tiny_model import POINTS, spec

from monai_bone_ssl.errors import ReasonCode
from monai_bone_ssl.findings import Answered, BodyPart, Peak, Reason, Refused, Status, decide
from monai_bone_ssl.show.overlay import draw_overlay
from monai_bone_ssl.show.overlay_file import write_png
from monai_bone_ssl.show.page import PageEntry, write_page

HOSTILE = [
    "<script>document.title='owned'</script>.dcm",
    "\"><img src=x onerror=document.title='owned'>.dcm",
    "' autofocus onfocus=document.title='owned' x='.dcm",
    "</style></article>&amp;&lt;.dcm",
    "a\u202egnp.exe\u0000\n\x1b[31m.dcm",
    "undecodable\udcff.dcm",
    "javascript:alert(1)#?%41.dcm",
]


def analysed(path, probability, uid=None, overlay=None, regions=()):
    found = Answered(
        path=path,
        study_instance_uid=uid,
        body_part=BodyPart("hand", "image", 0.93),
        probability=probability,
        decision=decide(probability, POINTS),
        peak=Peak(45, 75),
        regions=regions,
        seconds=0.4,
    )
    return PageEntry(found, overlay)


def left_out(path, status, code=ReasonCode.NOT_DICOM, text="not a DICOM file", uid=None):
    found = Refused(path=path, status=status, reason=Reason(code, text), seconds=0.02, study_instance_uid=uid)
    return PageEntry(found, None)


def make_overlay(path, probability=0.9):
    pixels = np.tile(np.linspace(0, 1, 90, dtype=np.float32), (120, 1))
    evidence = np.zeros((4, 3), dtype=np.float32)
    evidence[1, 2] = 0.9
    found = analysed("x", probability).finding
    write_png(draw_overlay(pixels, evidence, found, POINTS, spec(b"")), path)


def mixed_entries(folder):
    """Eight results of every kind, in no order, and their overlays; two studies of several images."""
    make_overlay(folder / "a.png")
    make_overlay(folder / "b.png")
    return [
        analysed("neg/low.dcm", 0.02),
        left_out("in/letter.pdf", Status.NOT_ANALYSED),
        analysed("in/pos.dcm", 0.75, "1.2.3", "a.png"),
        analysed("in/ind.dcm", 0.5, "1.2.3"),
        left_out("in/broken.dcm", Status.FAILED, ReasonCode.TRUNCATED_FILE, "pixel data ends early", "1.2.4"),
        analysed("in/neg.dcm", 0.1, "1.2.3"),
        analysed("in/top.dcm", 0.98, "1.2.4", "b.png"),
        analysed("in/ind2.dcm", 0.69),
    ]


def write(entries, out, studies=()):
    return write_page(entries, studies, out, msgspec.structs.replace(spec(b""), name="bone-model"))
