"""Run the application with a loader that breaks its promise; the first argument says how."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import app
import operators
from messages import StudyFile

from monai_bone_ssl.dicom.collect import Study

honest = operators._study_files


def interleaved(studies: list[Study]) -> Iterator[StudyFile]:
    """The first file of each study, then the second of each, and so on."""
    yield from sorted(honest(studies), key=lambda file: (file.place.number, file.place.group))


def mislabelled(studies: list[Study]) -> Iterator[StudyFile]:
    """Every file in its place, but filed under the first study."""
    for file in honest(studies):
        yield replace(file, place=replace(file.place, study_instance_uid=studies[0].study_instance_uid))


def lossy(studies: list[Study]) -> Iterator[StudyFile]:
    """Without the last study."""
    return honest(studies[:-1])


operators._study_files = {"interleaved": interleaved, "mislabelled": mislabelled, "lossy": lossy}[sys.argv[1]]
sys.exit(app.main(sys.argv[2:]))
