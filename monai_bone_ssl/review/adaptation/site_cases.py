"""The images that a site's readers agree on, as the model's features, labels and patients."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from monai_bone_ssl.analysis import analyse_file, prepare_file
from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.dicom.patient import patient_key
from monai_bone_ssl.errors import BoneSSLError, ConfigError, ReasonCode
from monai_bone_ssl.findings import RefusedImage
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.review.consensus import consensus
from monai_bone_ssl.review.verdict import Reading
from monai_bone_ssl.review.worklist import Case, Worklist, case_header

__all__ = ["LabelledCase", "SiteCases", "extract_site_features", "labelled_cases", "network_input"]

_LABELS = {Reading.NORMAL: 0, Reading.ABNORMAL: 1}


@dataclass(frozen=True)
class LabelledCase:
    """An image of the worklist with the reading that its readers agree on."""

    case: Case
    label: int
    """Agreed reading: 0 normal, 1 abnormal."""


@dataclass(frozen=True, eq=False)
class SiteCases:
    """Features and labels of n images of a site."""

    features: npt.NDArray[np.float32]
    """Features [n, D] of the model's network."""
    labels: npt.NDArray[np.int64]
    """Labels [n], 0 normal or 1 abnormal."""
    patients: npt.NDArray[np.str_]
    """Digests [n], the same for all images of one patient."""
    parts: npt.NDArray[np.str_]
    """Names [n] of the body parts, as the model calls them."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Self:
        """Select images by row number or by mask."""
        return type(self)(self.features[rows], self.labels[rows], self.patients[rows], self.parts[rows])


def labelled_cases(folder: Path, worklist: Worklist) -> list[LabelledCase]:
    """Images that the readers of a review agree on, or that were adjudicated, as normal or abnormal."""
    readings = consensus(folder)
    found = ((case, readings.get(case.key)) for case in worklist.cases)
    return [LabelledCase(case, _LABELS[reading]) for case, reading in found if reading in _LABELS]


def extract_site_features(
    cases: Sequence[LabelledCase], model: Model, progress: Callable[[int, int], None] | None = None
) -> tuple[SiteCases, list[LabelledCase]]:
    """Run the model on labelled images and keep its features.

    Parameters
    ----------
    cases
        Images with labels, from :func:`labelled_cases`.
    model
        The model in use.
    progress
        Called after each image with the number done and the number of all images.

    Returns
    -------
    The features, and the cases they belong to: without images that cannot be read or that the model does not
    analyse.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the model analyses none of the images.
    """
    rows, kept = [], []
    for number, labelled in enumerate(cases, start=1):
        row = _features(labelled.case, model)
        if row is not None:
            rows.append(row)
            kept.append(labelled)
        if progress is not None:
            progress(number, len(cases))
    if not kept:
        text = f"none of {len(cases)} images with a verdict can be analysed, expected some"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    features, parts, patients = zip(*rows, strict=True)
    labels = np.array([labelled.label for labelled in kept], dtype=np.int64)
    return SiteCases(np.stack(features), labels, np.array(patients), np.array(parts)), kept


def network_input(case: Case, spec: ModelSpec) -> npt.NDArray[np.float32] | None:
    """Input [1, 1, H, W] of the network for an image; None where the image cannot be prepared."""
    image = prepare_file(Source(case.path), spec)
    return None if isinstance(image, RefusedImage) else image.batch


def _features(case: Case, model: Model) -> tuple[npt.NDArray[np.float32], str, str] | None:
    """Features [D], body part and patient of an image; None where the image is not analysed."""
    try:
        header = case_header(case)
    except BoneSSLError:
        return None
    image = analyse_file(Source(case.path), model)
    if isinstance(image, RefusedImage):
        return None
    return image.features, image.finding.body_part.value, _patient(header)


def _patient(header: Dataset) -> str:
    """Digest of a patient's name and identifiers, kept in memory only; of the study where there are none."""
    key = patient_key(header)
    identity = key if any(key) else (str(header.get("StudyInstanceUID")),)
    return hashlib.sha256("\n".join(identity).encode()).hexdigest()
