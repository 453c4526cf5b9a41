"""All files that pydicom ships, analysed in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from analyses import strict_json
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGExtended12Bit
from pydicom_files import READABLE, pydicom_files, pydicom_roots

from monai_bone_ssl.dicom.radiograph import read_header
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.pipeline import analyse

_OVERRIDES = {"duplicate_instance", "conflicting_instance", "conflicting_patient"}


def test_all_files_of_pydicom_in_one_run(tmp_path: Path, tiny: Model) -> None:
    """Each has its entry and its reason; beside each other, copies and reused UIDs are found as well."""
    files = {path: (name, expected) for name, path, expected in pydicom_files()}
    results = analyse(pydicom_roots(), tmp_path / "out", tiny)
    assert len({image.path for image in results.images}) == len(results.images)
    entries = {Path(image.path): image for image in results.images if Path(image.path) in files}
    assert set(entries) == set(files)
    strict_json((tmp_path / "out" / "result.json").read_bytes())
    wrong = []
    for path, image in entries.items():
        name, expected = files[path]
        code = image.reason.code.value if image.reason else "analysed"
        if code in _OVERRIDES:
            assert _has_rival(image, results.images, code), name
        elif expected == READABLE:
            allowed = (
                {"body_part_not_covered"} if name.startswith("RG1") else {"analysed", "body_part_uncertain"}
            )
            wrong += [(name, code)] if code not in allowed else []
        elif code != expected:
            wrong.append((name, code, expected))
    assert not wrong


def _has_rival(image: Any, images: Any, code: str) -> bool:
    """Whether another file in the run explains the refusal, as pydicom alone reads both."""
    key = "study_instance_uid" if code == "conflicting_patient" else "sop_instance_uid"
    rivals = [i for i in images if getattr(i, key) == getattr(image, key) and i.path != image.path]
    if code == "duplicate_instance":
        return any(_is_copy(Path(rival.path), Path(image.path)) for rival in rivals)
    if code == "conflicting_instance":
        return any(Path(rival.path).read_bytes() != Path(image.path).read_bytes() for rival in rivals)
    patients = {_patient(Path(i.path)) for i in [image, *rivals]}
    return len(patients) > 1


def _is_copy(one: Path, other: Path) -> bool:
    """Whether the elements of two files are equal, and their pixels after decoding."""
    if one.read_bytes() == other.read_bytes():
        return True
    headers = [dcmread(path, force=True, stop_before_pixels=True) for path in (one, other)]
    if headers[0] != headers[1] or not all("TransferSyntaxUID" in header.file_meta for header in headers):
        return False
    return np.array_equal(*(_pixels(dcmread(path, force=True)) for path in (one, other)))


def _pixels(dataset: Dataset) -> NDArray[Any]:
    """Decoded pixels; of 12-bit JPEG, which pydicom's decoders refuse, by imagecodecs."""
    if dataset.file_meta.TransferSyntaxUID != JPEGExtended12Bit:
        return dataset.pixel_array
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    decoded: NDArray[Any] = imagecodecs.jpeg8_decode(frame)
    return decoded


def _patient(path: Path) -> tuple[str, ...]:
    header = read_header(path)
    return tuple(
        str(header.get(k, "")) for k in ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")
    )
