"""The radiograph, the evidence over it and the panel's pictures with Slicer's real libraries; no window."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
from BoneXRayReviewLib.drawing import SCALE, probability_bar
from BoneXRayReviewLib.geometry import ImageGeometry
from BoneXRayReviewLib.radiograph_volume import geometry_of, window_level
from BoneXRayReviewLib.viewer import Viewer
from dicom_factory import lut_item, make_radiograph
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGExtended12Bit
from pydicom_files import real_radiograph
from scene import SIDE, marked_picture, render

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.findings import Decision, OperatingPoints, Region
from monai_bone_ssl.review.verdict import Location
from monai_bone_ssl.show.colours import DECISION_COLOURS, LEAST_SHOWN, colour_evidence, colour_table


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "header", [{}, {"window": (1500, 2000)}, {"window": (2900, 5000), "rescale": (2, -100)}]
)
def test_view_shows_what_the_model_is_shown(
    logic: Any, viewer: Viewer, tmp_path: Path, photometric: str, header: dict[str, Any]
) -> None:
    """Pixel by pixel: not mirrored, not turned, not inverted, same window."""
    picture = marked_picture()
    stored = 4095 - picture if photometric == "MONOCHROME1" else picture
    path = make_radiograph(tmp_path / "x.dcm", stored, photometric=photometric, bits_stored=12, **header)
    expected = read_radiograph(path)
    viewer.show(path, expected, ())
    seen = render(logic, SIDE)
    # VTK's last row lies half a pixel lower.
    assert np.abs(seen[2:-2, 2:-2, 0] - 255.0 * expected.pixels[2:-2, 2:-2]).mean() < 2.5
    assert np.abs(np.fliplr(seen)[2:-2, 2:-2, 0] - 255.0 * expected.pixels[2:-2, 2:-2]).mean() > 20
    assert seen[24, 24].min() > 200  # the R is on the left, above
    assert seen[24, -24].min() < 230
    assert seen[-6].max() < 30  # the bar below is dark, whatever the interpretation


@pytest.mark.parametrize("name", ["RG3_UNCR.dcm", "RG3_J2KI.dcm", "RG1_UNCR.dcm"])
def test_real_radiographs_are_shown_as_the_package_reads_them(viewer: Viewer, name: str) -> None:
    expected = read_radiograph(real_radiograph(name))
    viewer.show(real_radiograph(name), expected, ())
    values = slicer.util.arrayFromVolume(viewer.radiograph)[0].astype(float)
    display = viewer.radiograph.GetDisplayNode()
    low = display.GetLevel() - display.GetWindow() / 2
    shown = np.clip((values - low) / display.GetWindow(), 0, 1)
    assert np.abs(shown - expected.pixels).max() < 1e-5
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeGrey"
    assert values.dtype != np.float32
    assert np.unique(values).size > 500  # the stored levels: the reader can change the window


def test_voi_lut_is_shown_as_the_package_renders_it(viewer: Viewer, tmp_path: Path) -> None:
    """No window can do what a table does."""

    def add_table(dataset: Any) -> None:
        entries = [round(65535 * (index / 4095) ** 3) for index in range(4096)]
        dataset.VOILUTSequence = [lut_item(entries, 0, 16)]

    path = make_radiograph(tmp_path / "x.dcm", marked_picture(), bits_stored=12, edit=add_table)
    expected = read_radiograph(path)
    viewer.show(path, expected, ())
    values = slicer.util.arrayFromVolume(viewer.radiograph)[0]
    assert np.abs(values / 4095 - expected.pixels).max() < 1e-3
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGExtended12Bit])
def test_compressed_images_are_shown(viewer: Viewer, tmp_path: Path, syntax: str) -> None:
    path = make_radiograph(tmp_path / "x.dcm", marked_picture(), bits_stored=12, transfer_syntax=syntax)
    viewer.show(path, read_radiograph(path), ())
    assert slicer.util.arrayFromVolume(viewer.radiograph).shape == (1, SIDE, SIDE)


def test_only_the_file_itself_is_read_not_its_series(viewer: Viewer, tmp_path: Path) -> None:
    ids = {"study_uid": "1.2.3", "series_uid": "1.2.3.4"}
    for name in ("a.dcm", "b.dcm"):
        make_radiograph(tmp_path / name, marked_picture(), **ids)
    viewer.show(tmp_path / "a.dcm", read_radiograph(tmp_path / "a.dcm"), ())
    assert viewer.radiograph.GetImageData().GetDimensions() == (SIDE, SIDE, 1)


def test_an_inverted_volume_is_refused() -> None:
    shown = np.linspace(0, 1, 400).reshape(20, 20)
    assert window_level(1000 - 900 * shown, shown) is None
    window, level = window_level(900 * shown + 100, shown) or (0, 0)
    assert (window, level) == pytest.approx((900, 550))


def test_spacing_is_the_package_s(viewer: Viewer, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "x.dcm", marked_picture(), pixel_spacing=(0.2, 0.3))
    viewer.show(path, read_radiograph(path), ())
    assert viewer.radiograph.GetSpacing() == pytest.approx((0.3, 0.2, 1))
    assert geometry_of(viewer.radiograph) == ImageGeometry(SIDE, SIDE, pytest.approx((0.2, 0.3)))


def _shown_with_evidence(
    viewer: Viewer, tmp_path: Path, evidence: NDArray[np.float32] | None, *regions: Region
) -> None:
    grey = np.full((SIDE, SIDE), 2000, np.uint16)
    grey[:, :4], grey[:, 4:8] = 0, 4095
    grey[:3] = np.linspace(0, 4095, SIDE)
    path = make_radiograph(tmp_path / "x.dcm", grey, bits_stored=12, pixel_spacing=(0.2, 0.2))
    viewer.show(path, read_radiograph(path), ())
    viewer.set_answer(evidence, regions)
    viewer.show_evidence(True, 1.0, 0.0)
    viewer.show_regions(True)


def test_patches_lie_exactly_over_their_pixels(logic: Any, viewer: Viewer, tmp_path: Path) -> None:
    evidence = np.zeros((6, 4), np.float32)
    evidence[2, 1] = 1
    _shown_with_evidence(viewer, tmp_path, evidence)
    plain = render(logic, SIDE).astype(int)
    viewer.evidence.GetDisplayNode().InterpolateOff()
    seen = render(logic, SIDE).astype(int)
    coloured = np.argwhere(seen.max(axis=2) - seen.min(axis=2) > 30)
    rows, columns = coloured.min(axis=0), coloured.max(axis=0)
    # Patch [2, 1] of 40 x 60 pixels: rows 80 to 119, columns 60 to 119.
    assert np.abs(rows - (80, 60)).max() <= 1
    assert np.abs(columns - (119, 119)).max() <= 1
    assert len(coloured) == pytest.approx(40 * 60, rel=0.02)
    assert plain.shape == seen.shape


def test_colours_are_the_package_s(logic: Any, viewer: Viewer, tmp_path: Path) -> None:
    evidence = np.array([[0, LEAST_SHOWN - 0.01, 0.2], [0.5, 0.8, 1.0], [0.06, 0.3, 0.9]], np.float32)
    _shown_with_evidence(viewer, tmp_path, evidence)
    viewer.evidence.GetDisplayNode().InterpolateOff()
    seen = render(logic, SIDE)
    table = 255 * colour_table()[:, :3]
    for row in range(3):
        for column in range(3):
            pixel = seen[40 + 80 * row, 40 + 80 * column].astype(int)
            level = float(evidence[row, column])
            if level < LEAST_SHOWN:
                assert pixel.max() - pixel.min() == 0  # grey: the radiograph itself
            else:
                assert np.abs(pixel - table[round(255 * level)]).max() <= 3


def test_hue_agrees_with_the_overlay_that_analyze_writes() -> None:
    """The table is not a second opinion: blended as the package blends, it gives the package's picture."""
    level = np.linspace(0.1, 1, 7, dtype=np.float32)[None]
    expected = colour_evidence(np.full_like(level, 0.4), level)[0]
    entries = colour_table()[np.rint(255 * level[0]).astype(int)]
    blended = 0.4 * (1 - entries[:, 3:]) + entries[:, :3] * entries[:, 3:]
    assert np.abs(blended - expected).max() < 0.01


def test_opacity_threshold_and_off(logic: Any, viewer: Viewer, tmp_path: Path) -> None:
    evidence = np.full((2, 2), 0.5, np.float32)
    _shown_with_evidence(viewer, tmp_path, evidence)

    def colour() -> int:
        pixel = render(logic, SIDE)[150, 150].astype(int)
        return int(pixel.max() - pixel.min())

    full = colour()
    viewer.show_evidence(True, 0.5, 0.0)
    assert colour() == pytest.approx(full / 2, abs=3)
    viewer.show_evidence(True, 1.0, 0.6)
    assert colour() == 0
    viewer.show_evidence(True, 1.0, 0.4)
    assert colour() == full
    viewer.show_evidence(False, 1.0, 0.0)
    assert colour() == 0


def test_frames_lie_on_the_edges_of_their_regions_solid_or_dashed(
    logic: Any, viewer: Viewer, tmp_path: Path
) -> None:
    solid = Region(row=40, column=30, height=60, width=80, probability=0.9, certainty="certain")
    dashed = Region(row=140, column=30, height=60, width=80, probability=0.4, certainty="possible")
    _shown_with_evidence(viewer, tmp_path, None, solid, dashed)
    seen = render(logic, SIDE).astype(int)
    coloured = seen.max(axis=2) - seen.min(axis=2) > 60
    shares = {}
    for region in (solid, dashed):
        top, left = region.row, region.column
        sides = [
            coloured[top + down - 2 : top + down + 3, left : left + region.width].any(axis=0)
            for down in (0, region.height)
        ]
        sides += [
            coloured[top : top + region.height, left + across - 2 : left + across + 3].any(axis=1)
            for across in (0, region.width)
        ]
        shares[region.certainty] = [side.mean() for side in sides]
        inside = coloured[top + 4 : top + region.height - 4, left + 4 : left + region.width - 4]
        assert not inside.any()
        coloured[top - 3 : top + region.height + 4, left - 3 : left + region.width + 4] = False
    assert min(shares["certain"]) > 0.97
    assert all(0.45 < share < 0.85 for share in shares["possible"])
    assert not coloured.any()  # nothing else is framed
    viewer.show_regions(False)
    hidden = render(logic, SIDE).astype(int)
    assert (hidden.max(axis=2) == hidden.min(axis=2)).all()


def test_frames_are_no_marks_and_are_not_saved(viewer: Viewer, tmp_path: Path) -> None:
    _shown_with_evidence(viewer, tmp_path, None, Region(40, 30, 60, 80, 0.9, "certain"))
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0
    assert viewer.locations() == ()
    assert not viewer.regions.GetSelectable()
    assert viewer.regions.GetHideFromEditors()
    scene = tmp_path / "saved.mrml"
    slicer.mrmlScene.SetURL(str(scene))
    assert slicer.mrmlScene.Commit()
    text = scene.read_text()
    assert "Radiograph" in text
    assert viewer.regions.GetName() not in text
    assert viewer.regions.GetDisplayNode().GetID() not in text


def test_a_case_leaves_nothing_behind(viewer: Viewer, tmp_path: Path) -> None:
    def node_ids() -> set[str]:
        scene = slicer.mrmlScene
        return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}

    path = make_radiograph(tmp_path / "x.dcm", marked_picture())
    marks = (Location("point", ((10.0, 20.0),)), Location("box", ((10.0, 20.0), (30.0, 40.0))))

    def one_case() -> set[str]:
        viewer.show(path, read_radiograph(path), marks)
        viewer.set_answer(np.ones((2, 2), np.float32), [Region(10, 20, 30, 40, 0.9, "certain")])
        viewer.show_evidence(True, 0.5, 0.2)
        viewer.clear()
        return node_ids()

    first = one_case()
    assert len(one_case() - first) == 0
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0


def test_the_marker_stands_at_the_probability() -> None:
    points = OperatingPoints(high_sensitivity=0.25, high_specificity=0.75)
    for probability in (0.0, 0.5, 1.0):
        picture = np.asarray(Image.open(io.BytesIO(probability_bar(probability, points, width=320))))
        middle = picture[30 * SCALE]
        dark = np.flatnonzero((middle[:, :3].sum(axis=1) < 80) & (middle[:, 3] > 0))
        expected = (18 + probability * (320 - 36)) * SCALE
        assert dark.mean() == pytest.approx(expected, abs=SCALE)
        thirds = [middle[round((18 + share * 284) * SCALE), :3] for share in (0.1, 0.6, 0.9)]
        assert [tuple(map(int, colour)) for colour in thirds] == [
            DECISION_COLOURS[Decision.NEGATIVE],
            DECISION_COLOURS[Decision.INDETERMINATE],
            DECISION_COLOURS[Decision.POSITIVE],
        ]
