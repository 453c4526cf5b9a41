"""A folder with every kind of good and bad file, and what becomes of each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from analyses import Run
from dicom_factory import DX, DX_RAW, limb_pixels, make_radiograph
from pydicom import Dataset
from pydicom.uid import generate_uid
from tiny_model import checkerboard, draw

from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import analyse


class Menagerie(NamedTuple):
    """The folder, the results of ``bone-ssl analyze`` inside it, and the process that wrote them."""

    folder: Path
    out: Path
    run: Run


NAME, PATIENT_ID, BIRTH_DATE = "Geheimrat^Zacharias", "PRIVATE-4711", "19610203"


def make(
    path: Path, bright: float = 0.5, part: str | None = "hand", body_part: str = "HAND", **more: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    more = {"patient_id": PATIENT_ID, "patient_name": NAME} | more
    inner = more.pop("edit", None)

    def edit(dataset: Dataset) -> None:
        dataset.PatientBirthDate = BIRTH_DATE
        if inner is not None:
            inner(dataset)

    seed = sum(path.name.encode(errors="surrogateescape"))
    return make_radiograph(path, draw(bright, part, seed=seed), body_part=body_part, edit=edit, **more)


def _colour(dataset: Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0


def _frames(dataset: Dataset) -> None:
    dataset.NumberOfFrames = 2


def _no_pixels(dataset: Dataset) -> None:
    del dataset.PixelData


def _no_series(dataset: Dataset) -> None:
    del dataset.SeriesInstanceUID


def _no_instance(dataset: Dataset) -> None:
    del dataset.SOPInstanceUID


#: File -> decision or reason code, of the folder that ``menagerie`` fills.
EXPECTED = {
    "negative.dcm": "negative",
    "indeterminate.dcm": "indeterminate",
    "positive.dcm": "positive",
    "untagged_leg.dcm": "positive",
    "dx.dcm": "positive",
    "inverse.dcm": "negative",
    "na\N{REPLACEMENT CHARACTER}me.dcm": "negative",
    "chest.dcm": "body_part_not_covered",
    "hip.dcm": "body_part_not_covered",
    "untagged_shoulder.dcm": "body_part_not_covered",
    "unclear.dcm": "body_part_uncertain",
    "conflict.dcm": "body_part_conflict",
    "unlike.dcm": "out_of_distribution",
    "colour.dcm": "colour",
    "frames.dcm": "multi_frame",
    "raw.dcm": "not_for_presentation",
    "no_pixels.dcm": "missing_pixel_data",
    "cut_pixels.dcm": "truncated_file",
    "cut_header.dcm": "truncated_file",
    "small.dcm": "image_too_small",
    "blank.dcm": "blank_image",
    "no_instance.dcm": "missing_identifier",
    "no_series.dcm": "missing_identifier",
    "notes.txt": "not_dicom",
    "empty": "not_dicom",
    "report.dcm": "unsupported_sop_class",
    "copy.dcm": "duplicate_instance",
    "link.dcm": "duplicate_instance",
    "reused_uid_1.dcm": "conflicting_instance",
    "reused_uid_2.dcm": "conflicting_instance",
    "patient_1.dcm": "conflicting_patient",
    "patient_2.dcm": "conflicting_patient",
    "broken_link": "unreadable_file",
    "pipe": "unreadable_file",
    "loop": "directory_loop",
}
NOT_ANALYSED = {
    "body_part_not_covered", "body_part_uncertain", "body_part_conflict", "out_of_distribution", "colour",
    "multi_frame", "not_for_presentation", "missing_pixel_data", "image_too_small", "blank_image",
    "not_dicom", "unsupported_sop_class", "duplicate_instance", "directory_loop",
}  # fmt: skip


def fill(folder: Path, model: Model) -> None:
    make(folder / "negative.dcm", 0.2)
    make(folder / "indeterminate.dcm", 0.5)
    make(folder / "positive.dcm", 0.8)
    make(folder / "untagged_leg.dcm", 0.8, "leg", body_part="EXTREMITY")
    make(folder / "dx.dcm", 0.8, sop_class=DX)
    inverse = draw(0.2)
    make_radiograph(folder / "inverse.dcm", inverse.max() - inverse, photometric="MONOCHROME1")
    make(Path(os.fsdecode(os.fsencode(folder) + b"/na\xffme.dcm")), 0.2)
    make(folder / "chest.dcm", body_part="CHEST")
    make(folder / "hip.dcm", body_part="PELVIS")
    make(folder / "untagged_shoulder.dcm", 0.5, "shoulder", body_part="")
    make(folder / "unclear.dcm", 0.5, None, body_part="")
    make(folder / "conflict.dcm", 0.5, "leg")
    make_radiograph(folder / "unlike.dcm", checkerboard())
    make(folder / "colour.dcm", edit=_colour)
    make(folder / "frames.dcm", edit=_frames)
    make(folder / "raw.dcm", sop_class=DX_RAW)
    make(folder / "no_pixels.dcm", edit=_no_pixels)
    for name, after in (("cut_pixels.dcm", b"\xe0\x7f\x10\x00"), ("cut_header.dcm", b"\x02\x00\x00\x00")):
        whole = make(folder / name).read_bytes()
        (folder / name).write_bytes(whole[: whole.index(after) + 200])
    make_radiograph(folder / "small.dcm", limb_pixels(32, 64))
    make_radiograph(folder / "blank.dcm", np.full((64, 64), 100, np.uint16), bits_stored=12)
    make(folder / "no_instance.dcm", edit=_no_instance)
    make(folder / "no_series.dcm", 0.8, edit=_no_series)
    (folder / "notes.txt").write_text("Not an image.\n" * 20)
    (folder / "empty").touch()
    first = make(folder / "deep" / "er" / "original.dcm", 0.2)
    (folder / "copy.dcm").write_bytes(first.read_bytes())
    first.rename(folder / "copied.dcm")
    (folder / "link.dcm").symlink_to("copied.dcm")
    sop, study = generate_uid(), generate_uid()
    make(folder / "reused_uid_1.dcm", sop_uid=sop)
    make(folder / "reused_uid_2.dcm", sop_uid=sop)
    make(folder / "patient_1.dcm", 0.8, study_uid=study)
    make(folder / "patient_2.dcm", 0.8, study_uid=study, patient_id="ANOTHER")
    (folder / "broken_link").symlink_to("nowhere")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe")
    scratch = folder.parent / "scratch"
    analyse([folder / "positive.dcm"], scratch, model)
    (report,) = scratch.glob("SR_*.dcm")
    report.rename(folder / "report.dcm")
