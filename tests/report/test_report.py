"""A report as an object: which images it refers to, what its UIDs depend on, how it gets onto a disk."""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom import DataElement, config
from pydicom.sr.codedict import codes
from reports import (
    ALGORITHM,
    FAILURE,
    STUDY,
    analysed,
    make_header,
    not_analysed,
    read_back,
    report_of,
    written,
)

from monai_bone_ssl.dicom.uids import derived_uid
from monai_bone_ssl.errors import ReasonCode, ReportError, UnsupportedImage
from monai_bone_ssl.findings import ImageAnalysis
from monai_bone_ssl.report.algorithm_content import tracking_uid
from monai_bone_ssl.report.study import write_report

# --- which images are referenced ----------------------------------------------------------------------------


def evidence(*images: ImageAnalysis) -> list[str]:
    """SOP Instance UIDs of the images that a report refers to, sorted."""
    return sorted(uid for _, _, uid, _ in report_of(*images).get_evidence())


def test_files_without_a_header_are_left_out() -> None:
    first = make_header(1)
    no_header = replace(not_analysed(make_header(3)), header=None)
    assert evidence(no_header, analysed(first, 0.9)) == [first.SOPInstanceUID]


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"])
def test_objects_without_pixels_or_identity_are_left_out(keyword: str) -> None:
    first = make_header(1)
    other = not_analysed(make_header(2))
    assert other.header is not None
    del other.header[keyword]
    assert evidence(other, analysed(first, 0.9)) == [first.SOPInstanceUID]


@pytest.mark.parametrize(
    ("sop_class", "referenced"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", True),  # CT: refused by the model, but an image of the patient
        ("1.2.840.10008.5.1.4.1.1.5", False),  # Nuclear Medicine, retired
        ("1.2.840.10008.5.1.4.1.1.501.2.1", False),  # of DICOS: baggage
        ("1.2.840.10008.5.1.4.1.1.601.1", False),  # of DICONDE: welding seams
        ("1.2.840.10008.5.1.4.1.1.99999", False),  # not in the standard
        ("1.3.12.2.1107.5.9.1", False),  # private
    ],
)
def test_only_medical_classes_of_today_are_referenced(sop_class: str, referenced: bool) -> None:
    first, other = make_header(1), make_header(2, SOPClassUID=sop_class)
    expected = [first.SOPInstanceUID, *([other.SOPInstanceUID] if referenced else [])]
    assert evidence(analysed(first, 0.9), not_analysed(other)) == expected


def test_copy_of_an_image_is_reported_once_as_analysed() -> None:
    header = make_header()
    copy = UnsupportedImage(ReasonCode.DUPLICATE_INSTANCE, "c.dcm: the same instance again")
    for images in (
        (analysed(header, 0.9), not_analysed(header, copy)),
        (not_analysed(header, copy), analysed(header, 0.9)),
    ):
        [group] = read_back(report_of(*images)).content.get_image_measurement_groups()
        assert group.get_measurements(codes.DCM.Probability)[0].value == 0.9


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("SeriesInstanceUID", ""), ("SeriesInstanceUID", "1.02.x"), ("SOPClassUID", "1.3.12.2.1107.5.9.1")],
)
def test_analysed_image_is_never_dropped(keyword: str, value: str) -> None:
    header = make_header()
    # As a reader finds it in a file: pydicom writes no such value.
    header[keyword] = DataElement(keyword, "UI", value, validation_mode=config.IGNORE)
    image = analysed(header, 0.9)
    with pytest.raises(ReportError, match=f"^{Path(image.finding.path).name}: analysed, but") as caught:
        report_of(image)
    assert caught.value.code is ReasonCode.MISSING_IDENTIFIER


def test_no_image_to_refer_to() -> None:
    with pytest.raises(ReportError, match=f"{STUDY}: no image to refer to") as caught:
        report_of(replace(not_analysed(make_header()), header=None))
    assert caught.value.code is ReasonCode.MISSING_IDENTIFIER


def test_header_of_another_image_is_refused() -> None:
    image = analysed(make_header(1), 0.9)
    with pytest.raises(ReportError, match=r"^1\.\S+\.1\.dcm: the header is not the one") as caught:
        report_of(replace(image, header=make_header(2)))
    assert caught.value.code is ReasonCode.REPORT_FAILED


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_probability_may_be_certain(probability: float) -> None:
    [group] = read_back(
        report_of(analysed(make_header(), probability))
    ).content.get_image_measurement_groups()
    assert group.get_measurements(codes.DCM.Probability)[0].value == probability


# --- identity -----------------------------------------------------------------------------------------------


def _uids(report: Comprehensive3DSR) -> tuple[str, str]:
    return report.SOPInstanceUID, report.SeriesInstanceUID


def test_same_input_same_bytes() -> None:
    first, second = (
        report_of(analysed(make_header(1), 0.9), analysed(make_header(2), 0.1)) for _ in range(2)
    )
    assert written(first) == written(second)


def test_uids_depend_on_images_and_algorithm_only() -> None:
    one, two = analysed(make_header(1), 0.9), analysed(make_header(2), 0.1)
    uids = _uids(report_of(one, two))
    assert uids == _uids(report_of(two, one, created=datetime(2030, 1, 1)))
    others = [
        report_of(one),
        report_of(one, two, algorithm=replace(ALGORITHM, fingerprint="fingerprint-2")),
        report_of(one, two, algorithm=replace(ALGORITHM, software_version="0.1.1")),
        # The report of a run in which an image failed must not block the one in which it succeeded.
        report_of(one, not_analysed(make_header(2), FAILURE)),
    ]
    seen = {*uids}
    for report in others:
        assert not seen & {*_uids(report)}
        seen |= {*_uids(report)}


def test_device_and_tracking_uids() -> None:
    retrained = replace(ALGORITHM, fingerprint="fingerprint-2")
    assert ALGORITHM.device_uid == replace(ALGORITHM, software_version="9").device_uid
    assert ALGORITHM.device_uid != retrained.device_uid
    assert tracking_uid("1.2.3", ALGORITHM) == tracking_uid("1.2.3", replace(ALGORITHM))
    models = (ALGORITHM, retrained, replace(ALGORITHM, software_version="9"))
    assert len({tracking_uid(uid, model) for uid in ("1.2.3", "1.2.4") for model in models}) == 6


def test_derived_uids_are_valid_and_tell_their_parts_apart() -> None:
    uids = [
        derived_uid("a", "b", "c"),
        derived_uid("a", "bc"),
        derived_uid("ab", "c"),
        derived_uid("a", "c", "b"),
    ]
    assert len(set(uids)) == 4
    assert all(uid.is_valid and uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


@pytest.mark.parametrize("field", ["model_name", "model_version", "software_version", "manufacturer"])
def test_names_must_fit_a_long_string(field: str) -> None:
    """VR LO: 64 characters, no backslash."""
    for value in ("x", "x" * 64):
        assert getattr(replace(ALGORITHM, **{field: value}), field) == value
    for value in ("", "x" * 65, "a\\b"):
        with pytest.raises(ReportError, match="1 to 64 characters") as caught:
            replace(ALGORITHM, **{field: value})
        assert caught.value.text.startswith(repr(value))
        assert caught.value.code is ReasonCode.REPORT_FAILED


# --- writing ------------------------------------------------------------------------------------------------


def test_written_under_its_uid_and_replaced(tmp_path: Path) -> None:
    report = report_of(analysed(make_header(), 0.9))
    assert write_report(report, tmp_path) == write_report(report, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"SR_{report.SOPInstanceUID}.dcm"]


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.write_text("")
    with pytest.raises(ReportError, match="cannot be written") as caught:
        write_report(report_of(analysed(make_header(), 0.9)), folder)
    assert caught.value.code is ReasonCode.WRITE_FAILED


_WRITE_WITH_NO_ROOM = """
import resource, signal, sys
from pathlib import Path
from pydicom import dcmread
from monai_bone_ssl.errors import ReportError
from monai_bone_ssl.report.study import write_report

report = dcmread(sys.argv[1])
report.ensure_file_meta()
report.ContentSequence  # read before the limit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
try:
    write_report(report, Path(sys.argv[2]))
except ReportError as error:
    print(error.code)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
def test_no_half_file_where_there_is_no_room(tmp_path: Path) -> None:
    """The kernel stops the write after 2048 bytes; the older report of that name stays whole."""
    report = report_of(analysed(make_header(), 0.9))
    path = write_report(report, tmp_path)
    whole = path.read_bytes()
    assert len(whole) > 2048
    run = subprocess.run(
        [sys.executable, "-c", _WRITE_WITH_NO_ROOM, path, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "write_failed\n", run.stderr
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == whole
