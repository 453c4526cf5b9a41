"""The package's analysis as background work."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BoneXRayReviewLib.background import BackgroundTask
from monai_bone_ssl.analysis import analyse_file
from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.errors import BoneSSLError
from monai_bone_ssl.findings import ImageFinding, OperatingPoints, RefusedImage
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.similar_cases import SimilarCase, SimilarCases
from monai_bone_ssl.review.worklist import Case, case_header

__all__ = ["Analysed", "LazyModel", "Similar", "analyse_cases", "find_similar"]

_N_SIMILAR = 5


@dataclass(frozen=True, eq=False)
class Analysed:
    """Result of one case."""

    key: str
    finding: ImageFinding
    points: OperatingPoints | None = None
    evidence: np.ndarray | None = None


@dataclass(frozen=True)
class Similar:
    """Labelled cases that look like one case."""

    key: str
    cases: tuple[SimilarCase, ...]


class LazyModel:
    """A model that is read once, by the first thread that needs the model.

    Parameters
    ----------
    folder
        Folder of the model, or of a model store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._model: Model | None = None

    def get(self) -> Model:
        """The model.

        Raises
        ------
        ModelError
            Where the folder cannot be trusted.
        """
        with self._lock:
            if self._model is None:
                self._model = Model(self.folder)
            return self._model


def analyse_cases(task: BackgroundTask[Analysed], cases: Sequence[Case], model: LazyModel) -> None:
    """Analyse cases one after the other.

    Raises
    ------
    ModelError
        Where the model folder cannot be trusted.
    """
    loaded = model.get()
    for case in cases:
        task.stop_if_cancelled()
        image = analyse_file(_source(case), loaded)
        if isinstance(image, RefusedImage):
            task.put(Analysed(case.key, image.finding))
        else:
            task.put(Analysed(case.key, image.finding, image.analysis.points, image.evidence))


def find_similar(task: BackgroundTask[Similar], case: Case, model: LazyModel) -> None:
    """Find the labelled cases most like one, where the model folder has labelled cases.

    Raises
    ------
    ModelError
        Where the model folder cannot be trusted.
    """
    known = SimilarCases.load(model.folder)
    nearest: tuple[SimilarCase, ...] = ()
    if known is not None:
        task.stop_if_cancelled()
        image = analyse_file(_source(case), model.get())
        if not isinstance(image, RefusedImage):
            part = image.finding.body_part.value
            nearest = tuple(known.nearest(image.features, part, _N_SIMILAR))
    task.put(Similar(case.key, nearest))


def _source(case: Case) -> Source:
    """Source of the case's file; with an error where the file is not the case's image any more."""
    try:
        case_header(case)
    except BoneSSLError as error:
        return Source(case.path, case.sop_instance_uid, case.study_instance_uid, error)
    return Source(case.path, case.sop_instance_uid, case.study_instance_uid)
