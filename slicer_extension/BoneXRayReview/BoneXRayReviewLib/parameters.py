"""What a saved scene remembers of a review. No verdicts: they are in the review folder."""
# ruff: noqa: N815 - Slicer's style; no "from __future__ import annotations": Slicer reads the types

from typing import Annotated

import slicer
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from BoneXRayReviewLib.sources import Source

__all__ = ["BoneXRayReviewParameterNode"]


@parameterNodeWrapper
class BoneXRayReviewParameterNode:
    """Parameters; those that a widget of the panel names are bound to it."""

    source: Source
    inputFolder: str
    useModel: bool = True
    modelFolder: str
    """Empty: the model that comes with the package."""
    sessionFolder: str
    """Empty: the folder ``review`` beside the images or results."""
    outputFolder: str
    storeFolder: str
    readerName: str
    readerOrganization: str
    blinded: bool = False
    filterName: str = "all"
    caseKey: str
    """Of the case that is open."""
    overlayVisible: bool = True
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.5
    overlayThreshold: Annotated[float, WithinRange(0, 1)] = 0.25
    radiograph: slicer.vtkMRMLScalarVolumeNode
    evidence: slicer.vtkMRMLScalarVolumeNode
