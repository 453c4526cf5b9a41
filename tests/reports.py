"""Images of a study as a report gets them, reports made of them, and ways to read what a report says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from io import BytesIO

import msgspec
from highdicom.sr import Comprehensive3DSR, srread
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from monai_bone_ssl.errors import CorruptImage, ReasonCode, UnsupportedImage
from monai_bone_ssl.findings import (
    FRACTURE,
    Answered,
    AnsweredImage,
    BodyPart,
    CodedConcept,
    ImageAnalysis,
    OperatingPoints,
    PixelBox,
    Refused,
    RefusedImage,
    Region,
    Target,
    decide,
    study_finding,
    unanalysed,
)
from monai_bone_ssl.report.content import Algorithm
from monai_bone_ssl.report.study import study_report

POINTS = OperatingPoints(high_sensitivity=0.2, high_specificity=0.7)
BOX = PixelBox(top=16, left=32, bottom=30.5, right=46.25)
POSSIBLE = Region(row=40, column=8, height=10, width=12, probability=0.41, certainty="possible")
CERTAIN = Region(row=16, column=32, height=8, width=20, probability=0.31, certainty="certain")
WRIST = CodedConcept("74670003", "SCT", "Wrist joint")
CREATED = datetime(2026, 11, 22, 10, 30, 15)
ALGORITHM = Algorithm(
    model_name="bone-fracture",
    model_version="1.2.0",
    weights_sha256="0123456789abcdef" * 4,
    fingerprint="fingerprint-1",
    software_name="monai-bone-ssl",
    software_version="0.1.0",
)
STUDY = "1.2.826.0.1.3680043.10.1"
FAILURE = CorruptImage(ReasonCode.DECODE_FAILED, "b.dcm: JPEG data end early, expected 80 x 64 pixels")

#: Attributes of patient and study that a source may lack.
OPTIONAL = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "Modality",
)

#: Character set and name; in the first three the name stands in several scripts.
NAMES = {
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
    "greek": ("ISO_IR 126", "Παπαδοπουλος^Διονυσιος"),
    "russian": ("ISO_IR 144", "Люксембург^Роза"),
    "german": ("ISO_IR 100", "Äneas^Rüdiger"),
}


def make_header(number: int = 1, study: str = STUDY, **attributes: object) -> Dataset:
    """Header of a radiograph as a reader gets it: written with its own character set, and read again."""
    header = Dataset()
    header.SOPClassUID = ComputedRadiographyImageStorage
    header.StudyInstanceUID = study
    header.SeriesInstanceUID = f"{study}.1"
    header.SOPInstanceUID = f"{study}.1.{number}"
    header.Modality = "CR"
    header.Rows, header.Columns = 64, 80
    header.PatientID = "PAT-0815"
    header.PatientName = "Doe^Jane"
    header.PatientBirthDate = "19700131"
    header.PatientSex = "F"
    header.StudyDate, header.StudyTime = "20260102", "101112"
    header.StudyID, header.AccessionNumber = "STUDY7", "ACC99"
    header.ReferringPhysicianName = "Who^Doctor"
    for keyword, value in attributes.items():
        if value is None:
            del header[keyword]
        else:
            setattr(header, keyword, value)
    file = BytesIO()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(file, header, enforce_file_format=True)
    file.seek(0)
    return dcmread(file)


def analysed(header: Dataset, probability: float, **context: object) -> AnsweredImage:
    """An image with an answer; ``context`` replaces fields of the AnsweredImage."""
    finding = Answered(
        path=f"/data/{header.SOPInstanceUID}.dcm",
        sop_instance_uid=header.SOPInstanceUID,
        study_instance_uid=header.StudyInstanceUID,
        body_part=BodyPart("hand", "dicom", 0.97),
        probability=probability,
        decision=decide(probability, POINTS),
        peak=BOX.centre,
        seconds=0.1,
    )
    return replace(AnsweredImage(finding, header, WRIST, "L", POINTS, BOX), **context)


def with_regions(image: AnsweredImage, *regions: Region) -> AnsweredImage:
    """The image as a model with patch operating points answers it."""
    return replace(image, finding=msgspec.structs.replace(image.finding, regions=regions))


def not_analysed(header: Dataset, error: UnsupportedImage | CorruptImage | None = None) -> RefusedImage:
    """An image with a reason instead; by default it shows a chest."""
    error = error or UnsupportedImage(
        ReasonCode.BODY_PART_NOT_COVERED, "a.dcm: body part CHEST, expected HAND"
    )
    status, reason = unanalysed(error)
    finding = Refused(
        path="/data/a.dcm",
        sop_instance_uid=header.SOPInstanceUID,
        study_instance_uid=header.StudyInstanceUID,
        status=status,
        reason=reason,
        seconds=0.1,
    )
    return RefusedImage(finding, header)


def issuer(name: str) -> str:
    """Text in the name's own script, for an element deep in a sequence."""
    return re.split(r"[=^]", name)[2 if "=" in name else 0]


def named(key: str) -> AnsweredImage:
    """A positive image of the patient whose name is ``NAMES[key]``."""
    character_set, name = NAMES[key]
    other = Dataset()
    other.PatientID = "other-1"
    other.IssuerOfPatientID = issuer(name)
    other.TypeOfPatientID = "TEXT"
    header = make_header(
        SpecificCharacterSet=character_set,
        PatientName=name,
        ReferringPhysicianName=name,
        OtherPatientIDsSequence=[other],
    )
    return analysed(header, 0.9)


def report_of(
    *images: ImageAnalysis,
    target: Target = FRACTURE,
    algorithm: Algorithm = ALGORITHM,
    study: str = STUDY,
    created: datetime = CREATED,
) -> Comprehensive3DSR:
    """Report of a study with the conclusion that follows from its images."""
    conclusion = study_finding(study, [image.finding for image in images])
    return study_report(images, conclusion, target, algorithm, created)


def written(report: Comprehensive3DSR) -> bytes:
    """The report's file."""
    file = BytesIO()
    report.save_as(file, enforce_file_format=True)
    return file.getvalue()


def read_back(report: Comprehensive3DSR) -> Comprehensive3DSR:
    """The report as highdicom's reader finds it in the file."""
    return srread(BytesIO(written(report)))


def items(item: Dataset) -> Iterator[Dataset]:
    """All content items below one, in the order of the document."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from items(child)


def meaning(item: Dataset) -> str:
    """Name of a content item in words."""
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)
