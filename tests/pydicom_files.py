"""What becomes of every file that pydicom and pydicom-data ship: the reason code, or "readable"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pydicom

READABLE = "readable"

# Everything not named here is DICOM, but no radiograph: CT, MR, US, RT, SR, SEG, secondary capture, ...
_OTHERWISE = "unsupported_sop_class"

_BY_OUTCOME: Mapping[str, tuple[str, ...]] = {
    # The eight real radiographs: chest (RG1) and distal tibia (RG3), uncompressed and in JPEG 2000.
    READABLE: tuple(f"RG{n}_{kind}.dcm" for n in (1, 3) for kind in ("J2KI", "J2KR", "UNCI", "UNCR")),
    "not_dicom": (
        "README.txt",
        "crayons.icc",
        "dicomdirtests/README.txt",
        "dicomdirtests/TINY_ALPHA/README",
        "no_meta.dcm",  # a data set without preamble that starts with a stray byte
        "rtplan.dump",
        "rtstruct.dump",
        "test1.json",
        "test_PN.json",
        "zipMR.gz",
    ),
    "image_too_small": (
        "dicomdirtests/77654033/CR1/6154",
        "dicomdirtests/77654033/CR2/6247",
        "dicomdirtests/77654033/CR3/6278",
    ),
    "invalid_header": (
        "SC_rgb_jpeg.dcm",  # explicit VR, says the transfer syntax; the data set is implicit
        "empty_charset_LEI.dcm",  # these three have no SOP Class UID
        "meta_missing_tsyntax.dcm",
        "nested_priv_SQ.dcm",
    ),
}
_OUTCOME = {name: outcome for outcome, names in _BY_OUTCOME.items() for name in names}


def pydicom_roots() -> list[Path]:
    """Folders of test files that are installed: pydicom's own, and pydicom-data's."""
    import data_store

    return [
        Path(pydicom.__file__).parent / "data" / "test_files",
        Path(data_store.__file__).parent / "data",
    ]


def pydicom_files() -> Iterator[tuple[str, Path, str]]:
    """Name relative to its root, path and expected outcome of every file."""
    for root in pydicom_roots():
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py":
                name = path.relative_to(root).as_posix()
                yield name, path, _OUTCOME.get(name, _OTHERWISE)


def real_radiograph(name: str) -> Path:
    """Path of one of the eight real radiographs of pydicom-data, such as "RG3_UNCR.dcm"."""
    return pydicom_roots()[1] / name
