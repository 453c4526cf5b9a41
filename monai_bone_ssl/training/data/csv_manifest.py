"""A CSV list of labelled images: ``path,label,part,patient[,study]``, other columns allowed.

Two more columns are read where there are any: ``split`` is ``train``, ``valid`` (or ``val``), or empty;
``acquisition`` names images taken alike, such as those of one site, device or period.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from monai_bone_ssl.body_parts import ANATOMY, FRACATLAS_PARTS, MURA_PARTS, UNSPECIFIC_TERMS, Part
from monai_bone_ssl.findings import ABNORMALITY
from monai_bone_ssl.training.data.dataset import DataSource, LabelledDataset, LabelledImage, Listing
from monai_bone_ssl.training.data.tables import Row, invalid_data, parse_flag, parse_split, read_table

__all__ = ["find_manifests", "load_csv"]

_COLUMNS = ("path", "label", "part", "patient")


def find_manifests(path: Path) -> list[Path]:
    """The CSV ``path`` itself, or those in the folder whose header line has a manifest's columns."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".csv" else []
    return [file for file in sorted(path.glob("*.csv")) if _is_manifest(file)]


def load_csv(path: Path) -> Listing:
    """Images of a CSV list; the label means "abnormal", the group is the patient.

    Parameters
    ----------
    path
        CSV file; image paths in it are relative to its folder. Part names are read in lower case and mean
        MURA's parts where all are MURA's, else FracAtlas' where all are, else DICOM Body Part Examined
        terms (``knee``, ``ankle``, ...).

    Raises
    ------
    ConfigError
        Naming the line and what was expected there.
    """
    rows = read_table(path, _COLUMNS)
    images = tuple(_image(path.parent, row) for row in rows)
    parts = _known_parts([(row.where, image.part) for row, image in zip(rows, images, strict=True)])
    name = f"{path.resolve().parent.name}/{path.name}"
    source = DataSource(name, licence="not stated", reference="CSV list given by the user")
    return Listing(LabelledDataset(images, parts, ABNORMALITY, source))


def _is_manifest(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return set(_COLUMNS) <= {column.strip() for column in file.readline().split(",")}


def _image(root: Path, row: Row) -> LabelledImage:
    name, patient = row.required("path"), row.required("patient")
    return LabelledImage(
        path=root / name,
        name=name,
        label=parse_flag(row.values["label"], "label", row.where),
        part=row.required("part").lower(),
        group=patient,
        # Sites number studies within a patient.
        study=f"{patient}/{row.required('study')}" if "study" in row.values else None,
        split=parse_split(row),
        acquisition=row.required("acquisition") if "acquisition" in row.values else None,
    )


def _known_parts(parts: Sequence[tuple[str, str]]) -> Mapping[str, Part]:
    """Meaning of part names, which come as (where, part)."""
    names = {part for _, part in parts}
    for known in (MURA_PARTS, FRACATLAS_PARTS):
        if names <= known.keys():
            return MappingProxyType({name: known[name] for name in sorted(names)})
    return MappingProxyType({part: _part_of_term(part, where) for where, part in parts})


def _part_of_term(part: str, where: str) -> Part:
    term = part.upper()
    if term not in ANATOMY or term in UNSPECIFIC_TERMS:
        raise invalid_data(
            f"{where}: unknown part '{part}', expected one of {', '.join(MURA_PARTS)}; "
            f"or of {', '.join(FRACATLAS_PARTS)}; or a specific DICOM Body Part Examined term such as knee"
        )
    return Part(ANATOMY[term], (term,))
