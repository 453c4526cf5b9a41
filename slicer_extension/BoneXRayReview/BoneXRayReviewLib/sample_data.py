"""A real radiograph for Slicer's module Sample Data: a distal tibia of pydicom's test data."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from BoneXRayReviewLib.messages import TITLE

__all__ = ["SAMPLE", "register"]

SAMPLE = "RG3_UNCR.dcm"


def register() -> None:
    """Offer the sample, which is fetched only when somebody asks for it.

    The copy of the Python package pydicom-data is taken where the package is installed. Otherwise address and
    checksum are those of pydicom, which Slicer ships.
    """
    import SampleData
    from pydicom.data.download import get_cached_filehash, get_url

    installed = _installed_copy()
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=TITLE,
        sampleName="Distal tibia (radiograph)",
        uris=[get_url(SAMPLE) if installed is None else installed.as_uri()],
        fileNames=[SAMPLE],
        nodeNames=["Radiograph"],
        checksums=[f"SHA256:{get_cached_filehash(SAMPLE)}"],
    )


def _installed_copy() -> Path | None:
    spec = importlib.util.find_spec("data_store")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "data" / SAMPLE
    return path if path.is_file() else None
