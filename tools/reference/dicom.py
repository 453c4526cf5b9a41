"""What of DICOM is read, received and written, from the constants that decide it."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from monai_bone_ssl.body_parts import ANATOMY
from monai_bone_ssl.dicom import decoding, radiograph
from monai_bone_ssl.dicom.decoding import TRANSFER_SYNTAXES
from monai_bone_ssl.findings import ABNORMALITY, FRACTURE, CodedConcept
from monai_bone_ssl.report import evidence_objects
from monai_bone_ssl.report import study as report
from monai_bone_ssl.review import verified_report
from monai_bone_ssl.service import dimse, receiver
from reference.markdown import code, table

__all__ = [
    "answers",
    "classes_read",
    "classes_received",
    "classes_written",
    "limits_read",
    "regions",
    "syntaxes_read",
    "syntaxes_sent",
]


def classes_read() -> str:
    """SOP classes that are analysed."""
    return _uids("SOP class", sorted(radiograph._ELIGIBLE))


def limits_read() -> str:
    """What else of such an image is asked for."""
    lines = [
        "one frame, MONOCHROME1 or MONOCHROME2, 6 to 16 bits",
        f"at least {radiograph._MIN_SIDE} and at most {radiograph._MAX_SIDE:,} pixels a side, "
        f"at most {radiograph.MAX_PIXELS:,} pixels in all",
        f"Modality {', '.join(sorted(radiograph.MODALITIES))}, or none",
    ]
    return "\n".join(f"- {line}" for line in lines)


def syntaxes_read() -> str:
    """Transfer syntaxes that are decoded, and with what."""
    libraries = {"JPEG": "libjpeg-turbo", "JPEG-LS": "CharLS", "JPEG 2000": "OpenJPEG"}
    decoders = {syntax: libraries[stream[2]] for syntax, stream in decoding._STREAMS.items()}
    decoders |= {RLELossless: "imagecodecs"} | dict.fromkeys(decoding._NATIVE, "none needed")
    rows = [(syntax.name, code(syntax), decoders[syntax]) for syntax in map(UID, TRANSFER_SYNTAXES)]
    return table(["transfer syntax", "UID", "decoder"], rows)


def classes_received() -> str:
    """SOP classes that the node takes by C-STORE."""
    return _uids("SOP class", receiver._IMAGE_CLASSES)


def syntaxes_sent() -> str:
    """Transfer syntaxes that the node proposes."""
    return _uids("transfer syntax", dimse._REPORT_SYNTAXES)


def classes_written() -> str:
    """SOP classes of the objects that are made."""
    rows = [
        (Comprehensive3DSRStorage, "SR", report._SERIES_NUMBER, "findings of one study, unverified"),
        (SecondaryCaptureImageStorage, "OT", evidence_objects._CAPTURE_SERIES, "evidence map"),
        (
            SegmentationStorage,
            "SEG",
            evidence_objects._SEGMENTATION_SERIES,
            "patches that may show the target",
        ),
        (Comprehensive3DSRStorage, "SR", verified_report._SERIES_NUMBER, "a reader's verdicts, verified"),
    ]
    head = ["SOP class", "UID", "Modality", "Series Number", "content"]
    return table(head, [(u.name, code(u), modality, series, what) for u, modality, series, what in rows])


def answers() -> str:
    """The coded question and answers of each target."""
    head = ["", *(f"target `{target.name}`" for target in (FRACTURE, ABNORMALITY))]
    fields = ("finding", "question", "negative", "indeterminate", "positive")
    rows = [
        (field, *(_concept(getattr(target, field)) for target in (FRACTURE, ABNORMALITY))) for field in fields
    ]
    return table(head, rows)


def regions() -> str:
    """Body Part Examined terms and their codes."""
    rows = [(code(term), f"({c.value}, {c.scheme_designator}, {c.meaning})") for term, c in ANATOMY.items()]
    return table(["Body Part Examined", "Finding Site"], rows)


def _concept(concept: CodedConcept) -> str:
    return f"({concept.value}, {concept.scheme}, {concept.meaning})"


def _uids(what: str, uids: Iterable[str | UID]) -> str:
    return table([what, "UID"], [(UID(uid).name, code(uid)) for uid in uids])
