"""Points, boxes and rulers in the scene, and the source pixels they stand for; no window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
from BoneXRayReviewLib.geometry import ImageGeometry
from BoneXRayReviewLib.markups import Markups, differ
from BoneXRayReviewLib.viewer import Viewer
from dicom_factory import make_radiograph
from scene import SIDE, marked_picture, render

from monai_bone_ssl.dicom.radiograph import read_radiograph
from monai_bone_ssl.review.verdict import Location

pytestmark = pytest.mark.usefixtures("logic")

GEOMETRY = ImageGeometry(200, 100, (0.2, 0.5))


MARKS = (
    Location("point", ((12.0, 34.0),)),
    Location("box", ((10.0, 20.0), (60.0, 50.0))),
    Location("ruler", ((0.0, 0.0), (30.0, 16.0)), 10.0),
)


def test_marks_go_into_the_scene_and_back() -> None:
    markups = Markups(lambda: None)
    markups.show(MARKS, GEOMETRY)
    found = markups.locations(GEOMETRY)
    assert not differ(found, MARKS)
    # Length worked out by hand: 30 rows of 0.2 mm and 16 columns of 0.5 mm are 6 and 8 mm.
    assert found[2].length_mm == pytest.approx(10.0)
    ruler = markups.nodes()[2]
    assert ruler.GetMeasurement("length").GetValue() == pytest.approx(10.0)  # what the view writes beside it


def test_marks_are_drawn_where_they_are(logic: Any, viewer: Viewer, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "x.dcm", marked_picture(), pixel_spacing=(0.2, 0.2))
    viewer.show(path, read_radiograph(path), ())
    plain = render(logic, SIDE).astype(int)
    viewer.show_locations((Location("box", ((60.0, 80.0), (120.0, 200.0))),))
    viewer.markups.nodes()[0].GetDisplayNode().SetHandlesInteractive(False)  # handles are drawn as well
    changed = np.argwhere(np.abs(render(logic, SIDE).astype(int) - plain).max(axis=2) > 60)
    top, left = changed.min(axis=0)
    bottom, right = changed.max(axis=0)
    assert (top, left, bottom, right) == pytest.approx((60, 80, 120, 200), abs=3)


def test_placing_by_hand_is_reported_when_complete(viewer: Viewer, tmp_path: Path) -> None:
    path = make_radiograph(tmp_path / "x.dcm", marked_picture(), imager_pixel_spacing=(0.1, 0.1))
    calls: list[int] = []
    viewer.markups = Markups(lambda: calls.append(len(viewer.locations())))
    viewer.show(path, read_radiograph(path), ())
    viewer.place("ruler")
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    assert interaction.GetCurrentInteractionMode() == slicer.vtkMRMLInteractionNode.Place
    (node,) = viewer.markups.nodes()
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    assert selection.GetActivePlaceNodeID() == node.GetID()
    node.AddControlPoint(-1.0, -1.0, 0.0)
    assert viewer.locations() == ()  # one end is no ruler
    node.AddControlPoint(-4.0, -5.0, 0.0)
    (location,) = viewer.locations()
    assert location.points == (pytest.approx((10, 10)), pytest.approx((50, 40)))
    assert location.length_mm == pytest.approx(5.0)
    assert calls[-1] == 1


def test_a_mark_beside_the_image_is_moved_to_its_edge() -> None:
    markups = Markups(lambda: None)
    markups.show(MARKS[:1], GEOMETRY)
    markups.nodes()[0].SetNthControlPointPosition(0, 50.0, -1000.0, 0.0)
    assert markups.locations(GEOMETRY)[0].points == ((199.0, 0.0),)


def test_without_spacing_a_ruler_has_no_length() -> None:
    geometry = ImageGeometry(200, 100, None)
    markups = Markups(lambda: None)
    markups.show((Location("ruler", ((0.0, 0.0), (30.0, 40.0))),), geometry)
    (found,) = markups.locations(geometry)
    assert found.length_mm is None
    assert not markups.nodes()[0].GetDisplayNode().GetPropertiesLabelVisibility()


def test_the_last_mark_is_removed() -> None:
    markups = Markups(lambda: None)
    markups.show(MARKS, GEOMETRY)
    markups.remove_last()
    assert [mark.kind for mark in markups.locations(GEOMETRY)] == ["point", "box"]
