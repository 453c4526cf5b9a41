"""Damaged files end in a valid radiograph or in a reason, and never in anything else."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import limb_pixels, lut_item, make_radiograph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, uid
from pydicom.tag import Tag

from monai_bone_ssl.dicom.radiograph import Radiograph, read_header, read_radiograph
from monai_bone_ssl.errors import BoneSSLError

NAME, IDENTIFIER = "Geheimnis^Klara", "PID-778899"
SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGExtended12Bit,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
)
KEYWORDS = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "PatientName",
    "PatientID",
    "PresentationIntentType",
    "BodyPartExamined",
    "Laterality",
    "AnatomicRegionSequence",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "PresentationLUTShape",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "EstimatedRadiographicMagnificationFactor",
    "PixelIntensityRelationship",
)
VRS = ("US", "SS", "DS", "IS", "CS", "LO", "PN", "UI", "FD", "UN", "OW", "SQ", "AT", "UL")


def outcome(read: Callable[[Path], Any], path: Path) -> Any:
    """Return what was read, or the one kind of error that may happen instead."""
    try:
        return read(path)
    except BoneSSLError as error:
        return error


def check(path: Path) -> None:
    for read in (read_header, read_radiograph):
        result = outcome(read, path)
        if isinstance(result, BoneSSLError):
            assert result.text.strip()
            assert len(result.text.splitlines()) == 1
            assert not any(secret in result.text for secret in (*NAME.split("^"), IDENTIFIER))
        elif isinstance(result, Radiograph):
            assert result.pixels.dtype == np.float32
            assert result.pixels.shape == (result.header.Rows, result.header.Columns)
            assert np.isfinite(result.pixels).all()
            assert result.pixels.min() >= 0
            assert result.pixels.max() <= 1
            assert result.laterality in (None, "R", "L", "B")
            assert (result.spacing is None) == (result.spacing_source is None)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sources")

    def add_lut(dataset: Dataset) -> None:
        dataset.VOILUTSequence = [lut_item(list(range(0, 4096, 2)), 0, 12)]

    return {
        syntax: make_radiograph(
            folder / "image.dcm",
            limb_pixels(72, 66),
            transfer_syntax=syntax,
            patient_name=NAME,
            patient_id=IDENTIFIER,
            study_uid="1.2.3.4",
            series_uid="1.2.3.4.5",
            sop_uid="1.2.3.4.5.6",
            window=(2000, 3000),
            edit=add_lut if syntax == uid.ExplicitVRLittleEndian else None,
        ).read_bytes()
        for syntax in SYNTAXES
    }


#: Kind of damage, whether it is within the header, where in it (share), and what is written or how much.
Damage = list[tuple[str, bool, float, int]]
DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(("byte", "byte", "word", "long", "drop", "repeat", "cut")),
        st.booleans(),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=6,
)


def mutate(source: bytes, damage: Damage) -> bytes:
    """Overwrite, cut, repeat and drop bytes; half of it in the header, where it hurts."""
    content = bytearray(source)
    for kind, in_header, share, value in damage:
        position = int(share * min(1200 if in_header else len(content), len(content)))
        count = 1 + value % 40
        if kind == "byte":
            content[position : position + 1] = bytes([value % 256])
        elif kind == "word":
            content[position : position + 2] = struct.pack("<H", value % 65536)
        elif kind == "long":
            content[position : position + 4] = struct.pack("<I", value)
        elif kind == "drop":
            del content[position : position + count]
        elif kind == "repeat":
            content[position:position] = content[position : position + count]
        elif value % 4 == 0:
            del content[position:]
    return bytes(content)


VALUES = st.one_of(
    st.sampled_from((b"", b"0", b"-1", b"1", b"NaN", b"inf", b"1e400", b"\\", b"12\\abc", b"\xff\xff", b"R")),
    st.binary(max_size=24),
    st.integers(0, 65535).map(lambda value: struct.pack("<H", value)),
    st.lists(st.integers(0, 65535), min_size=1, max_size=4).map(lambda v: struct.pack(f"<{len(v)}H", *v)),
    st.floats(width=32).map(lambda value: str(value).encode()),
)


def header_mutation(data: Any, folder: Path) -> Path:
    """Give a few elements another VR and other bytes, in a file that is otherwise well formed."""
    syntax = data.draw(st.sampled_from(SYNTAXES))
    changes = data.draw(
        st.lists(st.tuples(st.sampled_from(KEYWORDS), st.sampled_from(VRS), VALUES), min_size=1, max_size=3)
    )
    path = make_radiograph(
        folder / "header.dcm",
        limb_pixels(72, 66),
        transfer_syntax=syntax,
        patient_name=NAME,
        patient_id=IDENTIFIER,
        study_uid="1.2.3.4",
        series_uid="1.2.3.4.5",
        sop_uid="1.2.3.4.5.6",
        window=(2000, 3000),
    )
    content = path.read_bytes()
    for keyword, vr, value in changes:
        content = _replace_element(content, keyword, vr, value, syntax)
    path.write_bytes(content)
    return path


def _replace_element(content: bytes, keyword: str, vr: str, value: bytes, syntax: uid.UID) -> bytes:
    """Put an element's new encoding where it was, or before the first of group 0028."""
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        return content
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    tag = Tag(keyword)
    key = struct.pack(f"{order}HH", tag.group, tag.element)
    value += b"\0" * (len(value) % 2)
    if syntax == uid.ImplicitVRLittleEndian:
        head = struct.pack("<I", len(value))
    elif vr in ("UN", "OW", "SQ"):
        head = vr.encode() + struct.pack(f"{order}HI", 0, len(value))
    else:
        head = vr.encode() + struct.pack(f"{order}H", len(value))
    start = content.find(key, 300)
    if start < 0:
        start = end = content.find(struct.pack(f"{order}HH", 0x0028, 0x0002), 300)
    else:
        length_at = start + (4 if syntax == uid.ImplicitVRLittleEndian else 6)
        size = "I" if syntax == uid.ImplicitVRLittleEndian else "H"
        (length,) = struct.unpack_from(f"{order}{size}", content, length_at)
        end = length_at + struct.calcsize(size) + length
    return content[:start] + key + head + value + content[end:]


SHORT = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LONG = settings(SHORT, max_examples=6000)


def run_bytes(source: bytes, damage: Damage, tmp_path: Path) -> None:
    path = tmp_path / "bytes.dcm"
    path.write_bytes(mutate(source, damage))
    check(path)


@SHORT
@given(syntax=st.sampled_from(SYNTAXES), damage=DAMAGE)
def test_damaged_bytes(syntax: str, damage: Damage, sources: dict[str, bytes], tmp_path: Path) -> None:
    run_bytes(sources[syntax], damage, tmp_path)


@SHORT
@given(data=st.data())
def test_damaged_headers(data: Any, tmp_path: Path) -> None:
    check(header_mutation(data, tmp_path))


@pytest.mark.slow
@LONG
@given(syntax=st.sampled_from(SYNTAXES), damage=DAMAGE)
def test_many_damaged_bytes(syntax: str, damage: Damage, sources: dict[str, bytes], tmp_path: Path) -> None:
    run_bytes(sources[syntax], damage, tmp_path)


@pytest.mark.slow
@LONG
@given(data=st.data())
def test_many_damaged_headers(data: Any, tmp_path: Path) -> None:
    check(header_mutation(data, tmp_path))


def test_the_mutations_reach_both_outcomes(sources: dict[str, bytes], tmp_path: Path) -> None:
    """The undamaged sources are readable, so a fuzz test that only ever fails would be noticed."""
    for syntax, content in sources.items():
        path = tmp_path / f"{syntax}.dcm"
        path.write_bytes(content)
        assert read_radiograph(path).pixels.shape == (72, 66)
