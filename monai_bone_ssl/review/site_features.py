"""Features of the images that a site's readers have agreed on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from monai_bone_ssl.analysis import examine, prepare_file
from monai_bone_ssl.dicom.collect import Source
from monai_bone_ssl.dicom.patient import patient_key
from monai_bone_ssl.errors import BoneSSLError, ConfigError, ReasonCode
from monai_bone_ssl.model.inference import Model
from monai_bone_ssl.model.spec import ModelSpec
from monai_bone_ssl.review.consensus import consensus
from monai_bone_ssl.review.site_probe import SiteCases
from monai_bone_ssl.review.verdict import Reading
from monai_bone_ssl.review.worklist import Case, Worklist, case_header

__all__ = ["LabelledCase", "extract", "labelled_cases", "prepared"]

_LABELS = {Reading.NORMAL: 0, Reading.ABNORMAL: 1}


@dataclass(frozen=True)
class LabelledCase:
    """An image and what the readers say of it."""

    case: Case
    label: int
    """0 normal, 1 abnormal."""


def labelled_cases(folder: Path, worklist: Worklist) -> list[LabelledCase]:
    """The images of a review whose readers agree, or were adjudicated, on normal or abnormal.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where a file of the review is damaged.
    """
    readings = consensus(folder)
    found = ((case, readings.get(case.key)) for case in worklist.cases)
    return [LabelledCase(case, _LABELS[reading]) for case, reading in found if reading in _LABELS]


def extract(
    cases: Sequence[LabelledCase], model: Model, progress: Callable[[int, int], None] | None = None
) -> tuple[SiteCases, list[LabelledCase]]:
    """Features of those images that the model analyses.

    Parameters
    ----------
    cases
        What :func:`labelled_cases` returned.
    model
        The model in use.
    progress
        Called with how many of the images are done, and how many there are.

    Returns
    -------
    The images' features, and the cases they are of; an image that cannot be read, or is not one for the
    model, is left out.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the model analyses none of them.
    """
    features, patients, parts, kept = [], [], [], []
    for number, labelled in enumerate(cases, start=1):
        found = _features(labelled.case, model)
        if found is not None:
            features.append(found[0])
            parts.append(found[1])
            patients.append(found[2])
            kept.append(labelled)
        if progress is not None:
            progress(number, len(cases))
    if not kept:
        text = f"none of {len(cases)} images with a verdict can be analysed, expected some"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    labels = np.array([labelled.label for labelled in kept], dtype=np.int64)
    return SiteCases(np.stack(features), labels, np.array(patients), np.array(parts)), kept


def prepared(case: Case, spec: ModelSpec) -> npt.NDArray[np.float32] | None:
    """The network's input [1, 1, H, W] for a case; None where it has none."""
    return prepare_file(Source(case.path), "", spec).batch


def _features(case: Case, model: Model) -> tuple[npt.NDArray[np.float32], str, str] | None:
    """Features [D], body part and patient; None where the image is not analysed."""
    try:
        header = case_header(case)
        seen, eligible = examine(prepare_file(Source(case.path), "", model.spec), model)
    except BoneSSLError:
        return None
    return seen.features[0], eligible.body_part.value, _patient(header)


def _patient(header: Dataset) -> str:
    """What stands for the patient: a digest, kept in memory only. Without a name or an id, the study."""
    key = patient_key(header)
    named = key if any(key) else (str(header.get("StudyInstanceUID")),)
    return hashlib.sha256("\n".join(named).encode()).hexdigest()
