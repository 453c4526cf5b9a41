"""The grayscale pipeline against DICOM's formulas and pydicom's functions."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from dicom_factory import XRF, lut_item
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.valuerep import DSfloat

from monai_bone_ssl.dicom.grayscale import grayscale_table, modality_values, stored_values
from monai_bone_ssl.errors import CorruptImage, ReasonCode
from monai_bone_ssl.notes import Note, NoteCode

BITS = 12
ALL = np.ones(1 << BITS, bool)
ROOT = [round(4095 * (value / 4095) ** 0.5) for value in range(4096)]


def header(**elements: Any) -> Dataset:
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.PixelRepresentation = BITS, 0
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def display(dataset: Dataset, occurs: Any = ALL, signed: bool = False) -> Any:
    return grayscale_table(dataset, occurs, signed, []).display


# --- closed forms (PS3.3 C.11.2.1.2 and C.11.2.1.3) ---------------------------------------------------------


def reference_window(x: float, c: float, w: float, function: str) -> float:
    """The standard's pseudo-code, one value at a time, for an output from 0 to 1."""
    if function == "LINEAR":
        if x <= c - 0.5 - (w - 1) / 2:
            return 0.0
        if x > c - 0.5 + (w - 1) / 2:
            return 1.0
        return (x - (c - 0.5)) / (w - 1) + 0.5
    if function == "LINEAR_EXACT":
        if x <= c - w / 2:
            return 0.0
        return 1.0 if x > c + w / 2 else (x - c) / w + 0.5
    return float(1 / (1 + np.exp(np.float64(-4 * (x - c) / w))))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (1000.5, 1), (700, 2), (50, 301.5), (-10, 500)])
def test_windows_are_the_standards_formulas(function: str, center: float, width: float) -> None:
    dataset = header(WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    with np.errstate(over="ignore"):  # the formula as written overflows; the result, 0, is right
        expected = [reference_window(x, center, width, function) for x in range(4096)]
    np.testing.assert_allclose(display(dataset), expected, atol=1e-6)


def test_linear_is_the_default_and_the_first_window_counts() -> None:
    several = header(WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    only = header(WindowCenter=1000, WindowWidth=500, VOILUTFunction="LINEAR")
    np.testing.assert_array_equal(display(several), display(only))


def test_without_voi_the_image_fills_the_range() -> None:
    occurs = np.zeros(1 << BITS, bool)
    occurs[[100, 300, 500]] = True
    assert display(header(), occurs)[[50, 100, 300, 500, 4000]].tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_half_a_window_is_no_window() -> None:
    np.testing.assert_array_equal(display(header(WindowCenter=1000)), display(header()))


def test_a_voi_lut_is_preferred_to_a_window() -> None:
    dataset = header(WindowCenter=1000, WindowWidth=10, VOILUTSequence=[lut_item(ROOT, 0, 12)])
    np.testing.assert_allclose(display(dataset), np.array(ROOT) / 4095, atol=1e-7)


# --- pydicom's functions, where they are right --------------------------------------------------------------


@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 3000, "WindowWidth": 2000},
        {"RescaleSlope": -0.5, "RescaleIntercept": 7, "WindowCenter": -900, "WindowWidth": 1500},
        {"WindowCenter": 3000, "WindowWidth": 20000, "VOILUTFunction": "SIGMOID"},
        {
            "ModalityLUTSequence": [lut_item([16 * v for v in ROOT], 0, 16)],
            "WindowCenter": 9,
            "WindowWidth": 99,
        },
        {"VOILUTSequence": [lut_item(ROOT[:2000], 1000, 12)]},
    ],
)
def test_pipeline_equals_pydicoms(elements: dict[str, Any]) -> None:
    dataset = header(**deepcopy(elements))  # the items change below
    for item in (*dataset.get("VOILUTSequence", ()), *dataset.get("ModalityLUTSequence", ())):
        item["LUTData"].VR = "US"
        item.LUTData = np.frombuffer(item.LUTData, "<u2").tolist()
    values = apply_modality_lut(np.arange(4096, dtype=np.uint16), dataset)
    np.testing.assert_allclose(modality_values(dataset, stored_values(4096, False), []), values, atol=1e-9)
    shown = apply_voi_lut(values, dataset).astype(float)
    low, high = _pydicom_output_range(dataset)
    np.testing.assert_allclose(display(dataset), (shown - low) / (high - low), atol=1e-6)


def _pydicom_output_range(dataset: Dataset) -> tuple[float, float]:
    """The range pydicom maps to: that of the modality step's output, or of the VOI LUT's entries."""
    if "VOILUTSequence" in dataset or "ModalityLUTSequence" in dataset:
        item = (dataset.get("VOILUTSequence") or dataset.get("ModalityLUTSequence"))[0]
        return 0, 2 ** item.LUTDescriptor[2] - 1
    slope, intercept = dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
    return float(intercept), float(4095 * slope + intercept)


# --- what pydicom's functions cannot do ---------------------------------------------------------------------


def test_lut_of_signed_values_starting_below_zero() -> None:
    dataset = header(ModalityLUTSequence=[lut_item(ROOT, -2048, 12, signed=True)])
    values = modality_values(dataset, stored_values(4096, signed=True), [])
    assert values[2048] == ROOT[0]  # the code 2048 is -2048
    assert values[0] == ROOT[2048]
    assert values[2047] == ROOT[4095]


def test_lut_start_written_with_the_wrong_sign() -> None:
    signed = header(VOILUTSequence=[lut_item(ROOT, -2048, 12, signed=True)])
    unsigned = header(VOILUTSequence=[lut_item(ROOT, 65536 - 2048, 12)])
    np.testing.assert_array_equal(display(signed, signed=True), display(unsigned, signed=True))


def test_8_bit_lut_entries_may_be_packed_two_a_word() -> None:
    entries = [v >> 4 for v in ROOT]
    packed = lut_item(entries, 0, 8)
    packed["LUTData"].value = bytes(entries)
    loose = display(header(VOILUTSequence=[lut_item(entries, 0, 8)]))
    np.testing.assert_array_equal(display(header(VOILUTSequence=[packed])), loose)
    np.testing.assert_allclose(loose, np.array(entries) / 255, atol=1e-7)


def test_a_lut_of_65536_entries_says_0() -> None:
    item = lut_item(list(range(65536)), 0, 16)
    assert item.LUTDescriptor[0] == 0
    values = modality_values(header(ModalityLUTSequence=[item]), stored_values(65536, signed=False), [])
    np.testing.assert_array_equal(values, np.arange(65536))


# --- polarity and padding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
    ],
)
def test_polarity_is_turned_once(photometric: str, shape: str | None, inverted: bool) -> None:
    dataset = header(PhotometricInterpretation=photometric)
    if shape is not None:
        dataset.PresentationLUTShape = shape
    shown = display(dataset)
    assert (shown[0], shown[-1]) == ((1.0, 0.0) if inverted else (0.0, 1.0))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("elements", "signed", "padded"),
    [
        ({"PixelPaddingValue": 0}, False, [0]),
        ({"PixelPaddingValue": 4095}, False, [4095]),
        ({"PixelPaddingValue": 4090, "PixelPaddingRangeLimit": 4095}, False, range(4090, 4096)),
        ({"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4090}, False, range(4090, 4096)),
        ({"PixelPaddingValue": -2000}, True, [2096]),
        ({"PixelPaddingValue": 65536 - 2000}, True, [2096]),  # SS written as US
        ({"PixelPaddingValue": 60000}, False, []),
    ],
)
def test_padding_is_black_and_out_of_the_range(
    photometric: str, elements: dict[str, int], signed: bool, padded: Any
) -> None:
    dataset = header(PhotometricInterpretation=photometric)
    for keyword, value in elements.items():
        dataset.add_new(keyword, "SS" if value < 0 else "US", value)
    table = grayscale_table(dataset, ALL, signed, [])
    assert np.flatnonzero(table.padding).tolist() == list(padded)
    assert (table.display[table.padding] == 0).all()
    stored = stored_values(4096, signed)
    image = ~table.padding
    darkest = np.max if photometric == "MONOCHROME1" else np.min
    brightest = np.min if photometric == "MONOCHROME1" else np.max
    assert table.display[image & (stored == darkest(stored[image]))] == 0
    assert table.display[image & (stored == brightest(stored[image]))] == 1


def test_an_image_of_nothing_but_padding() -> None:
    occurs = np.zeros(4096, bool)
    occurs[0] = True
    assert not display(header(PixelPaddingValue=0), occurs).any()


@pytest.mark.parametrize(("relationship", "applied"), [("LOG", False), ("DISP", False), ("LIN", True)])
def test_xrf_modality_is_not_for_display(relationship: str, applied: bool) -> None:
    """PS3.3 C.8.7.1.1.2: there it leads back to X-ray intensity."""
    dataset = header(RescaleSlope=2, RescaleIntercept=5, PixelIntensityRelationship=relationship)
    dataset.SOPClassUID = XRF
    assert modality_values(dataset, np.array([10]), []).tolist() == ([25.0] if applied else [10.0])


# --- refusals -----------------------------------------------------------------------------------------------


def lut(bits: int = 12, count: int = 4096) -> Dataset:
    item = lut_item(ROOT, 0, bits)
    item.LUTDescriptor = [count % 65536, 0, bits]
    return item


def without(keyword: str) -> Dataset:
    item = lut_item(ROOT, 0, 12)
    del item[keyword]
    return item


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"RescaleSlope": 1e-12, "RescaleIntercept": 0}, "Rescale Slope"),
        ({"RescaleSlope": 1, "RescaleIntercept": 1e300}, "Intercept"),
        ({"PresentationLUTShape": "LIN OD"}, "Presentation LUT Shape"),
        ({"PresentationLUTShape": "IDENTITY", "PhotometricInterpretation": "MONOCHROME1"}, "contradicts"),
        ({"PresentationLUTShape": "INVERSE", "PhotometricInterpretation": "MONOCHROME2"}, "contradicts"),
        ({"ModalityLUTSequence": [without("LUTData")]}, "LUT Data is missing"),
        ({"ModalityLUTSequence": [without("LUTDescriptor")]}, "three values"),
    ],
)
def test_values_that_make_no_sense(elements: dict[str, Any], says: str) -> None:
    with pytest.raises(CorruptImage, match=says) as caught:
        display(header(**elements))
    assert caught.value.code is ReasonCode.INVALID_HEADER


# --- what is ignored ----------------------------------------------------------------------------------------

GOOD = (1000.0, 500.0)
BAD_WINDOWS = [(100, 0), (100, 0.5), (100, -4), (1e300, 100), (100, 1e300)]
BAD_LUTS = [lut(count=4097), lut(count=0), without("LUTData"), without("LUTDescriptor")]


def read(dataset: Dataset) -> tuple[Any, list[tuple[NoteCode, str]]]:
    """What is shown, and the notes."""
    notes: list[Note] = []
    shown = grayscale_table(dataset, ALL, False, notes).display
    return shown, [(note.code, note.text) for note in notes]


@pytest.mark.parametrize("bad", BAD_WINDOWS)
def test_a_bad_window_is_ignored(bad: tuple[float, float]) -> None:
    """The next one is used, or the range of what occurs."""
    alone, notes = read(header(WindowCenter=bad[0], WindowWidth=bad[1]))
    np.testing.assert_array_equal(alone, display(header()))
    ((code, words),) = notes
    assert code is NoteCode.WINDOW
    assert "ignored" in words
    both, notes = read(header(WindowCenter=[bad[0], GOOD[0]], WindowWidth=[bad[1], GOOD[1]]))
    np.testing.assert_array_equal(both, display(header(WindowCenter=GOOD[0], WindowWidth=GOOD[1])))
    assert len(notes) == 1


@pytest.mark.parametrize("text", [b"550,50", b"abc", b"NaN", b"inf", b"1e9999", b"5 50", b""])
@pytest.mark.parametrize("keyword", ["WindowCenter", "WindowWidth"])
def test_a_window_that_is_no_number_is_ignored(keyword: str, text: bytes) -> None:
    """As the header keeps a value that is none: its bytes."""
    dataset = header(WindowCenter=[7, GOOD[0]], WindowWidth=[7, GOOD[1]])
    good = str(int(GOOD[keyword == "WindowWidth"])).encode()
    dataset.add_new(keyword, "OB", text + b"\\" + good)
    shown, notes = read(dataset)
    np.testing.assert_array_equal(shown, display(header(WindowCenter=GOOD[0], WindowWidth=GOOD[1])))
    assert notes == [(NoteCode.WINDOW, "Window Center or Width is not a number: ignored")]


@given(
    st.lists(
        st.tuples(
            st.floats(-1e5, 1e5) | st.sampled_from([0.0, 1e13]),
            st.floats(-1e5, 1e5) | st.sampled_from([0.0, 0.5, 1.0, 1e13]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["", "LINEAR", "LINEAR_EXACT", "SIGMOID", "CUBIC"]),
)
@settings(max_examples=200, derandomize=True, database=None, deadline=None)
def test_the_first_window_that_makes_sense_counts(windows: list[tuple[float, float]], function: str) -> None:
    centers, widths = zip(*windows, strict=True)
    shown, notes = read(
        header(
            WindowCenter=[DSfloat(c, auto_format=True) for c in centers],
            WindowWidth=[DSfloat(w, auto_format=True) for w in widths],
            VOILUTFunction=function,
        )
    )
    least = 1 if function in ("", "LINEAR", "CUBIC") else 1e-6
    good = [window for window in windows if least <= window[1] <= 1e12 and abs(window[0]) <= 1e12]
    expected = display(header())
    if good:
        name = function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
        values = np.arange(4096.0)
        with np.errstate(over="ignore"):
            expected = np.array([reference_window(x, *good[0], name) for x in values])
    np.testing.assert_allclose(shown, expected, atol=1e-5)
    bad = windows.index(good[0]) if good else len(windows)
    assert len([words for _, words in notes if "ignored" in words]) == bad


def test_an_unknown_function_is_linear() -> None:
    shown, notes = read(header(WindowCenter=GOOD[0], WindowWidth=GOOD[1], VOILUTFunction="CUBIC"))
    np.testing.assert_array_equal(shown, display(header(WindowCenter=GOOD[0], WindowWidth=GOOD[1])))
    assert notes == [(NoteCode.WINDOW, "VOI LUT Function is unknown: LINEAR was used")]


@pytest.mark.parametrize("bad", BAD_LUTS, ids=["short", "far too short", "no data", "no descriptor"])
def test_a_bad_voi_lut_is_ignored(bad: Dataset) -> None:
    """The next one is used, or the window."""
    shown, notes = read(header(VOILUTSequence=[deepcopy(bad), lut_item(ROOT, 0, 12)]))
    np.testing.assert_allclose(shown, np.array(ROOT) / 4095, atol=1e-7)
    assert [code for code, _ in notes] == [NoteCode.VOI_LUT]
    window = {"WindowCenter": GOOD[0], "WindowWidth": GOOD[1]}
    shown, _ = read(header(VOILUTSequence=[deepcopy(bad)], **window))
    np.testing.assert_array_equal(shown, display(header(**window)))


@pytest.mark.parametrize("said", [0, 8, 10, 14, 16, 20, 32])
def test_a_voi_lut_that_says_other_bits_than_its_entries_have(said: int) -> None:
    """Agfa says 16 over 12: shown as if it said what is there."""
    item = lut_item(ROOT, 0, 12)
    item.LUTDescriptor = [4096, 0, said]
    shown, notes = read(header(VOILUTSequence=[item]))
    np.testing.assert_allclose(shown, np.array(ROOT) / 4095, atol=1e-7)
    assert [code for code, _ in notes] == [NoteCode.VOI_LUT]


@pytest.mark.parametrize("said", [12, 13])
def test_a_voi_lut_may_use_half_its_range(said: int) -> None:
    """As DCMTK shows it."""
    item = lut_item(ROOT, 0, 12)
    item.LUTDescriptor = [4096, 0, said]
    shown, notes = read(header(VOILUTSequence=[item]))
    np.testing.assert_allclose(shown, np.array(ROOT) / ((1 << said) - 1), atol=1e-7)
    assert not notes


def test_a_slope_of_0_is_ignored() -> None:
    """As DCMTK does it: windows are then of stored values."""
    window = {"WindowCenter": GOOD[0], "WindowWidth": GOOD[1]}
    shown, notes = read(header(RescaleSlope=0, RescaleIntercept=100, **window))
    np.testing.assert_array_equal(shown, display(header(**window)))
    assert [code for code, _ in notes] == [NoteCode.RESCALE]
