"""The open case in the scene: its radiograph, evidence and regions over it, the reader's marks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from BoneXRayReviewLib.evidence_volume import add_evidence, set_threshold
from BoneXRayReviewLib.geometry import ImageGeometry
from BoneXRayReviewLib.markups import Markups
from BoneXRayReviewLib.radiograph_volume import geometry_of, load_radiograph
from BoneXRayReviewLib.region_frames import add_region_frames
from BoneXRayReviewLib.scene import SliceView, is_in_scene, remove_node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from monai_bone_ssl.dicom.radiograph import Radiograph
    from monai_bone_ssl.findings import Region
    from monai_bone_ssl.review.verdict import Location

__all__ = ["Viewer"]


class Viewer:
    """Shows one case at a time.

    Parameters
    ----------
    application_logic
        The application's ``vtkSlicerApplicationLogic``.
    volumes_logic
        The application's ``vtkSlicerVolumesLogic``.
    marked
        Function to call when the reader has added, moved or removed a mark.
    """

    def __init__(self, application_logic: Any, volumes_logic: Any, marked: Callable[[], None]) -> None:
        self._view = SliceView(application_logic)
        self._volumes_logic = volumes_logic
        self.markups = Markups(marked)
        self.radiograph: Any = None
        self.evidence: Any = None
        self.regions: Any = None
        self._geometry: ImageGeometry | None = None

    def show(self, path: Path, radiograph: Radiograph, locations: tuple[Location, ...]) -> None:
        """Show a radiograph with its marks, and nothing of the case before."""
        self.clear()
        self.radiograph, self._geometry = load_radiograph(path, radiograph, self._volumes_logic)
        self._view.show(self.radiograph)
        self.markups.show(locations, self._geometry)

    def clear(self) -> None:
        """Remove the case from the scene."""
        self.markups.clear()
        self.remove_answer()
        node, self.radiograph, self._geometry = self.radiograph, None, None
        if is_in_scene(node):
            self._view.clear()
            remove_node(node)

    def set_answer(self, evidence: np.ndarray | None, regions: Sequence[Region]) -> None:
        """Put evidence, where there is any, and regions into the scene; they are not shown yet."""
        self.remove_answer()
        if self._geometry is None:
            return
        if evidence is not None:
            self.evidence = add_evidence(evidence, self._geometry)
        if regions:
            self.regions = add_region_frames(regions, self._geometry)
            self.show_regions(False)

    def remove_answer(self) -> None:
        """Remove evidence and regions from the scene, where a blinded reader could find them."""
        frames, self.regions = self.regions, None
        if is_in_scene(frames):
            remove_node(frames)
        node, self.evidence = self.evidence, None  # before the removal, which calls observers of the scene
        if is_in_scene(node):
            self._view.show_evidence(None, 0.0)
            remove_node(node)

    def show_evidence(self, visible: bool, opacity: float, threshold: float) -> None:
        """Show or hide the evidence.

        Parameters
        ----------
        visible
            Whether the evidence is shown.
        opacity
            Opacity of the evidence, 0 to 1.
        threshold
            Probability below which evidence is not shown, 0 to 1.
        """
        if self.evidence is None:
            return
        set_threshold(self.evidence, threshold)
        self._view.show_evidence(self.evidence if visible else None, opacity)

    def show_regions(self, visible: bool) -> None:
        """Show or hide the frames of the regions."""
        if self.regions is not None:
            self.regions.GetDisplayNode().SetVisibility(visible)

    def place(self, kind: str) -> None:
        """Let the reader mark a ``point``, a ``box`` or a ``ruler`` with the mouse."""
        if self._geometry is not None:
            self.markups.place(kind, self._geometry)

    def locations(self) -> tuple[Location, ...]:
        """Locations that are marked, in source pixels."""
        return () if self._geometry is None else self.markups.locations(self._geometry)

    def show_locations(self, locations: tuple[Location, ...]) -> None:
        """Replace the marks of the open case."""
        if self._geometry is not None:
            self.markups.show(locations, self._geometry)

    def adopt(self, radiograph: Any, evidence: Any) -> None:
        """Take over the nodes of a scene that was loaded."""
        self.markups.adopt()
        self.radiograph, self.evidence = radiograph, evidence
        self._geometry = None if radiograph is None else geometry_of(radiograph)

    def forget(self) -> None:
        """Let go of nodes that the scene has removed."""
        self.markups.release()
        self.radiograph = self.evidence = self.regions = self._geometry = None
