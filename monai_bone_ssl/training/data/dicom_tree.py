"""A folder of DICOM radiographs, nested in any way, labelled by ``study_labels.csv``.

Patient, study and body part come from the headers. Patients and studies leave this module as digests:
what a header says about a person is never shown, logged or written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from pydicom import Dataset
from tqdm import tqdm

from monai_bone_ssl.body_parts import ANATOMY, MURA_PARTS, UNSPECIFIC_TERMS, Part
from monai_bone_ssl.dicom.body_part_words import term_of_body_part
from monai_bone_ssl.dicom.header import text, uid
from monai_bone_ssl.dicom.patient import patient_key
from monai_bone_ssl.dicom.radiograph import anatomy, check_eligible, read_header
from monai_bone_ssl.dicom.stream import file_name
from monai_bone_ssl.errors import CorruptImage, UnsupportedImage
from monai_bone_ssl.findings import ABNORMALITY
from monai_bone_ssl.training.data.dataset import DataSource, LabelledDataset, LabelledImage, Listing
from monai_bone_ssl.training.data.image_files import image_files, is_dicom
from monai_bone_ssl.training.data.tables import Row, invalid_data, parse_flag, parse_split, read_table

__all__ = ["STUDY_LABELS", "DicomRadiograph", "digest", "load_dicom_tree", "read_radiograph_header"]

#: File beside the DICOM files that labels them.
STUDY_LABELS = "study_labels.csv"

# Columns that name an image, a study or an order, the most specific first.
_KEYS = ("sop_instance_uid", "study_instance_uid", "accession_number")


class _Key(NamedTuple):
    """Name of an image, study or order in a row of labels."""

    column: str
    """Column of ``study_labels.csv``, one of :data:`_KEYS`."""
    value: str
    """UID or accession number."""


@dataclass(frozen=True)
class DicomRadiograph:
    """A radiograph's header, as far as training uses it."""

    path: Path
    """DICOM file."""
    keys: tuple[_Key, ...]
    """UIDs and number that may name this image in ``study_labels.csv``, the most specific first."""
    part: str | None
    """MURA's part where the header names one of MURA's parts, else the Body Part Examined term in lower case;
    None where the header names no specific one."""
    group: str | None
    """Digest of the patient's identity; None where the header has none."""
    study: str | None
    """Digest of the Study Instance UID; None where the header has none."""


def load_dicom_tree(root: Path) -> Listing:
    """Radiographs of a folder that ``study_labels.csv`` labels; the label means "abnormal".

    Parameters
    ----------
    root
        Folder with DICOM files, any nesting, and ``study_labels.csv``: ``label`` and at least one of
        ``sop_instance_uid``, ``study_instance_uid`` and ``accession_number``; where a row fills several, the
        most specific one counts, and an image's own row goes before its study's. Optional: ``split``, as in a
        CSV list, and ``part``, which goes before the header's. Radiographs that no row names are left out,
        and so is everything that is no radiograph.

    Raises
    ------
    ConfigError
        Naming the line or file and what was expected there.
    """
    labels = _labels(read_table(root / STUDY_LABELS, ("label",)))
    radiographs, contradictions = _radiographs(root)
    images, unused = [], dict(labels)
    for radiograph in radiographs:
        keys = [key for key in radiograph.keys if key in labels]
        if keys:
            images.append(_image(root, radiograph, labels[keys[0]]))
        for key in keys:
            unused.pop(key, None)
    contradictions += [
        f"{row.where}: {key.column} of no radiograph in the folder" for key, row in unused.items()
    ]
    parts = MappingProxyType({name: _known_part(name) for name in sorted({image.part for image in images})})
    source = DataSource(root.resolve().name, "not stated", "DICOM files given by the user")
    return Listing(LabelledDataset(tuple(images), parts, ABNORMALITY, source), tuple(contradictions))


def read_radiograph_header(path: Path) -> DicomRadiograph | None:
    """A DICOM file's header, as far as training uses it; None where the file is no projection radiograph.

    Raises
    ------
    CorruptImage
        Where the header cannot be read.
    """
    try:
        header = read_header(path)
        check_eligible(header)
    except UnsupportedImage:
        return None
    study = uid(header, "StudyInstanceUID")
    values = (uid(header, "SOPInstanceUID"), study, text(header, "AccessionNumber"))
    return DicomRadiograph(
        path=path,
        keys=tuple(_Key(column, str(value)) for column, value in zip(_KEYS, values, strict=True) if value),
        part=_part(anatomy(header)),
        group=_patient(header),
        study=digest(study) if study else None,
    )


def _radiographs(root: Path) -> tuple[list[DicomRadiograph], list[str]]:
    """Radiographs under a folder, and their contradictions, a line each."""
    radiographs: list[DicomRadiograph] = []
    contradictions: list[str] = []
    instances: dict[_Key, Path] = {}
    files = [file for file in image_files(root) if is_dicom(file)]
    for path in tqdm(files, desc="headers", unit="file"):
        name = path.relative_to(root)
        try:
            radiograph = read_radiograph_header(path)
        except CorruptImage as error:
            contradictions.append(f"{name}: {error.text.removeprefix(file_name(path)).strip()}")
            continue
        if radiograph is None:
            continue
        radiographs.append(radiograph)
        for key in radiograph.keys[:1]:
            first = instances.setdefault(key, path)
            if key.column == "sop_instance_uid" and first is not path:
                contradictions.append(f"{name}: has the SOP Instance UID of {first.relative_to(root)}")
    return radiographs, contradictions


def _labels(rows: Sequence[Row]) -> Mapping[_Key, Row]:
    labels: dict[_Key, Row] = {}
    for row in rows:
        keys = [_Key(column, row.values[column]) for column in _KEYS if row.values.get(column)]
        if not keys:
            raise invalid_data(f"{row.where}: names nothing, expected one of {', '.join(_KEYS)}")
        if keys[0] in labels:
            raise invalid_data(
                f"{row.where}: {keys[0].column} is labelled twice, first in {labels[keys[0]].where}"
            )
        labels[keys[0]] = row
    return labels


def _image(root: Path, radiograph: DicomRadiograph, row: Row) -> LabelledImage:
    name = radiograph.path.relative_to(root).as_posix()
    if radiograph.group is None:
        raise invalid_data(f"{name}: Patient ID and name are empty, expected one to keep patients apart")
    return LabelledImage(
        path=radiograph.path,
        name=name,
        label=parse_flag(row.values["label"], "label", row.where),
        part=_labelled_part(row) or radiograph.part or _no_part(name),
        group=radiograph.group,
        study=radiograph.study,
        split=parse_split(row),
    )


def _labelled_part(row: Row) -> str | None:
    stated = row.values.get("part", "")
    part = _part(term_of_body_part(stated))
    if stated and part is None:
        raise invalid_data(
            f"{row.where}: unknown part '{stated}', expected one of {', '.join(MURA_PARTS)}; "
            "or a specific DICOM Body Part Examined term such as knee"
        )
    return part


def _no_part(name: str) -> NoReturn:
    raise invalid_data(
        f"{name}: the header names no specific body part, expected one there or in "
        f"a column part of {STUDY_LABELS}"
    )


def _part(term: str | None) -> str | None:
    if term is None or term in UNSPECIFIC_TERMS or term not in ANATOMY:
        return None
    return next((name for name, part in MURA_PARTS.items() if term in part.terms), term.lower())


def _known_part(name: str) -> Part:
    return MURA_PARTS.get(name) or Part(ANATOMY[name.upper()], (name.upper(),))


def _patient(header: Dataset) -> str | None:
    """Digest of the Patient ID alone where there is one: a name is spelt in many ways."""
    identifier, _, *name_and_birth = patient_key(header)
    if identifier:
        return digest(identifier)
    return digest(*name_and_birth) if name_and_birth[0] else None


def digest(*texts: str) -> str:
    """Digest that stands for a patient or study wherever a person might read it: 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
