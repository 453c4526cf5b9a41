"""Where images to read come from."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["Source", "radiograph_files"]

_MODALITY = "0008,0060"


class Source(Enum):
    """Kinds of worklists."""

    RESULTS = "Results of bone-ssl analyze"
    FOLDER = "Folder of radiographs"
    DATABASE = "Slicer DICOM database"

    def label(self) -> str:
        """Name of the source in the panel."""
        return self.value


def radiograph_files(database: Any) -> list[Path]:
    """Files of all projection radiographs in a ctkDICOMDatabase; none where none is open."""
    from monai_bone_ssl.dicom.radiograph import MODALITIES

    files: list[Path] = []
    for patient in [] if database is None else database.patients():
        for study in database.studiesForPatient(patient):
            for series in database.seriesForStudy(study):
                found = database.filesForSeries(series)
                if found and database.fileValue(found[0], _MODALITY) in MODALITIES:
                    files += [Path(name) for name in found]
    return files
