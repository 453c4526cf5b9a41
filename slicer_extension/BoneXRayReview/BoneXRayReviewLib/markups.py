"""Places that the reader marks: markups nodes in the scene, locations in source pixels in the verdict.

The scene has markups of the open case only. They are ordinary markups, so that a saved scene keeps them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer
import vtk

from BoneXRayReviewLib.geometry import ImageGeometry
from BoneXRayReviewLib.scene import remove_node

if TYPE_CHECKING:
    from monai_bone_ssl.review.verdict import Location

__all__ = ["Markups", "differ"]

_ATTRIBUTE = "BoneXRayReview.location"
_CLASSES = {
    "point": "vtkMRMLMarkupsFiducialNode",
    "box": "vtkMRMLMarkupsROINode",
    "ruler": "vtkMRMLMarkupsLineNode",
}
_NAMES = {"point": "Point", "box": "Box", "ruler": "Ruler"}
_POINTS = {"point": 1, "box": 1, "ruler": 2}  # number of control points when placed; a box has its centre
_EVENTS = (
    slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent,
    slicer.vtkMRMLMarkupsNode.PointModifiedEvent,
    slicer.vtkMRMLMarkupsNode.PointRemovedEvent,
)
_MOVED = 0.01  # in pixels; less is what saving a scene rounds off
_COLOUR = (0.25, 0.85, 0.95)  # a colour that the evidence does not have


class Markups:
    """Markups of the open case.

    Parameters
    ----------
    changed
        Function to call when the reader has added, moved or removed a markup.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._observed: list[tuple[Any, int]] = []

    def place(self, kind: str, geometry: ImageGeometry) -> Any:
        """Let the reader place a markup with one or two clicks of the mouse.

        Parameters
        ----------
        kind
            ``point``, ``box`` or ``ruler``.
        geometry
            Geometry of the image.
        """
        node = self._add(kind, geometry)
        selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        selection.SetReferenceActivePlaceNodeClassName(_CLASSES[kind])
        selection.SetActivePlaceNodeID(node.GetID())
        interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        interaction.SetPlaceModePersistence(0)
        interaction.SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.Place)
        return node

    def show(self, locations: tuple[Location, ...], geometry: ImageGeometry) -> None:
        """Replace all markups by the locations of a verdict."""
        self.clear()
        for location in locations:
            node = self._add(location.kind, geometry)
            corners = [geometry.to_ras(*point) for point in location.points]
            if location.kind == "box":
                _set_box(node, corners)
            else:
                for corner in corners:
                    node.AddControlPoint(vtk.vtkVector3d(*corner))

    def locations(self, geometry: ImageGeometry) -> tuple[Location, ...]:
        """Locations of all markups that are placed completely, in source pixels."""
        from monai_bone_ssl.review.verdict import Location

        found = []
        for node in self.nodes():
            kind = node.GetAttribute(_ATTRIBUTE)
            if node.GetNumberOfDefinedControlPoints() < _POINTS[kind]:
                continue
            places = _box_corners(node) if kind == "box" else _control_points(node)
            points = tuple(geometry.to_pixel(place) for place in places)
            if kind != "point" and points[0] == points[1]:  # two clicks on one place
                continue
            length = geometry.length_mm(*points) if kind == "ruler" else None
            found.append(Location(kind, points, length))
        return tuple(found)

    def nodes(self) -> list[Any]:
        """Markups nodes, in the order in which they were added."""
        nodes = slicer.mrmlScene.GetNodesByClass("vtkMRMLMarkupsNode")
        nodes.UnRegister(None)
        listed = [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
        return [node for node in listed if node.GetAttribute(_ATTRIBUTE) is not None]

    def remove_last(self) -> None:
        """Remove the markup that was added last."""
        nodes = self.nodes()
        if nodes:
            self._forget(nodes[-1])
            remove_node(nodes[-1])
            self._changed()

    def clear(self) -> None:
        """Remove all markups."""
        self.release()
        for node in self.nodes():
            remove_node(node)

    def adopt(self) -> None:
        """Watch the markups of a scene that was loaded."""
        self.release()
        for node in self.nodes():
            self._observe(node)

    def release(self) -> None:
        """Stop watching the markups."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed.clear()

    def _add(self, kind: str, geometry: ImageGeometry) -> Any:
        node = slicer.mrmlScene.AddNewNodeByClass(_CLASSES[kind], _NAMES[kind])
        node.SetAttribute(_ATTRIBUTE, kind)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSelectedColor(*_COLOUR)
        display.SetColor(*_COLOUR)
        # The length stands beside a ruler, but not where the header gives no millimetres.
        display.SetPropertiesLabelVisibility(kind == "ruler" and geometry.spacing is not None)
        display.SetPointLabelsVisibility(False)
        display.SetFillVisibility(False)
        self._observe(node)
        return node

    def _observe(self, node: Any) -> None:
        for event in _EVENTS:
            self._observed.append((node, node.AddObserver(event, lambda *_: self._changed())))

    def _forget(self, node: Any) -> None:
        for observed, tag in self._observed:
            if observed is node:
                node.RemoveObserver(tag)
        self._observed = [entry for entry in self._observed if entry[0] is not node]


def differ(marks: tuple[Location, ...], others: tuple[Location, ...]) -> bool:
    """Whether two verdicts have different locations."""
    if [mark.kind for mark in marks] != [other.kind for other in others]:
        return True
    pairs = zip((p for m in marks for p in m.points), (p for o in others for p in o.points), strict=True)
    return any(abs(a - b) > _MOVED for first, second in pairs for a, b in zip(first, second, strict=True))


def _control_points(node: Any) -> list[tuple[float, float, float]]:
    places = []
    for index in range(node.GetNumberOfDefinedControlPoints()):
        place = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(index, place)
        places.append((place[0], place[1], place[2]))
    return places


def _box_corners(node: Any) -> list[tuple[float, float, float]]:
    """Top left and bottom right corner in the image; for a turned box, the corners of its bounds."""
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return [(bounds[1], bounds[3], 0.0), (bounds[0], bounds[2], 0.0)]


def _set_box(node: Any, corners: list[tuple[float, float, float]]) -> None:
    first, second = corners
    node.SetCenter(*((a + b) / 2 for a, b in zip(first, second, strict=True)))
    # A box that does not reach through the slice would not be shown.
    node.SetSize(abs(first[0] - second[0]), abs(first[1] - second[1]), 1.0)
