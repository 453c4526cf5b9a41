"""Body parts as coded concepts: what a DICOM header says, and what a training set means by a part.

Codes are those of DICOM PS3.16 CID 4031 "Common Anatomic Region" and Annex L (Body Part Examined
defined terms): https://dicom.nema.org/medical/dicom/current/output/chtml/part16/chapter_L.html
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pydicom.sr.coding import Code

__all__ = [
    "ANATOMY",
    "FRACATLAS_PARTS",
    "MURA_PARTS",
    "UNSPECIFIC_TERMS",
    "Part",
    "term_of_concept",
]


def _sct(value: str, meaning: str) -> Code:
    return Code(value, "SCT", meaning)


#: Body Part Examined defined term -> coded anatomic region.
ANATOMY: Mapping[str, Code] = MappingProxyType(
    {
        "ANKLE": _sct("70258002", "Ankle joint"),
        "ARM": _sct("53120007", "Upper limb"),
        "CALCANEUS": _sct("80144004", "Calcaneus"),
        "CLAVICLE": _sct("51299004", "Clavicle"),
        "ELBOW": _sct("16953009", "Elbow joint"),
        "EXTREMITY": _sct("66019005", "Extremity"),
        "FEMUR": _sct("71341001", "Femur"),
        "FIBULA": _sct("87342007", "Fibula"),
        "FINGER": _sct("7569003", "Finger"),
        "FOOT": _sct("56459004", "Foot"),
        "FOREARM": _sct("14975008", "Forearm"),
        "HAND": _sct("85562004", "Hand"),
        "HIP": _sct("24136001", "Hip joint"),
        "HUMERUS": _sct("85050009", "Humerus"),
        "KNEE": _sct("72696002", "Knee"),
        "LEG": _sct("61685007", "Lower limb"),
        "LOWERLEG": _sct("30021000", "Lower leg"),
        "PATELLA": _sct("64234005", "Patella"),
        "PELVIS": _sct("816092008", "Pelvis"),
        "RADIUS": _sct("131190003", "Radius"),
        "RADIUSULNA": _sct("110535000", "Radius and ulna"),
        "SCAPULA": _sct("79601000", "Scapula"),
        "SHOULDER": _sct("16982005", "Shoulder"),
        "THIGH": _sct("68367000", "Thigh"),
        "THUMB": _sct("76505004", "Thumb"),
        "TIBIA": _sct("12611008", "Tibia"),
        "TIBIAFIBULA": _sct("110536004", "Tibia and fibula"),
        "TOE": _sct("29707007", "Toe"),
        "ULNA": _sct("23416004", "Ulna"),
        "UPPERARM": _sct("40983000", "Upper arm"),
        "WRIST": _sct("74670003", "Wrist joint"),
    }
)

#: Terms that name no anatomic region: what the image shows counts.
UNSPECIFIC_TERMS = frozenset({"ARM", "EXTREMITY"})


class Part(NamedTuple):
    """Meaning of a body part in a training set."""

    concept: Code
    """Smallest coded anatomic region that holds the whole part."""
    terms: tuple[str, ...]
    """Body Part Examined terms that the part covers; all are keys of :data:`ANATOMY`."""


#: FracAtlas' parts. Its "hand" reaches from the hand to the elbow, its "leg" from the foot to the femur.
FRACATLAS_PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "hand": Part(
            ANATOMY["ARM"],
            ("HAND", "FINGER", "THUMB", "WRIST", "FOREARM", "RADIUS", "ULNA", "RADIUSULNA", "ELBOW"),
        ),
        "leg": Part(
            ANATOMY["LEG"],
            (
                "LEG",
                "FOOT",
                "TOE",
                "CALCANEUS",
                "ANKLE",
                "LOWERLEG",
                "TIBIA",
                "FIBULA",
                "TIBIAFIBULA",
                "KNEE",
                "PATELLA",
                "THIGH",
                "FEMUR",
            ),
        ),
        "hip": Part(ANATOMY["HIP"], ("HIP", "PELVIS")),
        "shoulder": Part(ANATOMY["SHOULDER"], ("SHOULDER", "CLAVICLE", "SCAPULA", "HUMERUS", "UPPERARM")),
    }
)

#: MURA's seven parts (Rajpurkar et al. 2018, arXiv:1712.06957), each one anatomic region.
MURA_PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "elbow": Part(ANATOMY["ELBOW"], ("ELBOW",)),
        "finger": Part(ANATOMY["FINGER"], ("FINGER", "THUMB")),
        "forearm": Part(ANATOMY["FOREARM"], ("FOREARM", "RADIUS", "ULNA", "RADIUSULNA")),
        "hand": Part(ANATOMY["HAND"], ("HAND",)),
        "humerus": Part(ANATOMY["HUMERUS"], ("HUMERUS", "UPPERARM")),
        "shoulder": Part(ANATOMY["SHOULDER"], ("SHOULDER", "CLAVICLE", "SCAPULA")),
        "wrist": Part(ANATOMY["WRIST"], ("WRIST",)),
    }
)

# SNOMED CT codes of the same anatomic regions that senders also use (CID 4031 and retired choices).
_SYNONYMS = {
    "8205005": "WRIST",
    "344001": "ANKLE",
    "127949000": "ELBOW",
    "29836001": "HIP",
    "49076000": "KNEE",
    "12921003": "PELVIS",
    "302539009": "HAND",
}


def term_of_concept(concept: Code) -> str | None:
    """Body Part Examined term of a coded anatomic region; None where the table lacks the code.

    Codes may be of SNOMED CT or, in older images, of SNOMED RT ("T-D8700", schemes SRT, SNM3 and 99SDM).
    """
    scheme = "SRT" if concept.scheme_designator in ("SNM3", "99SDM") else concept.scheme_designator
    sought = Code(concept.value, scheme, concept.meaning)
    if scheme not in ("SCT", "SRT"):
        return None
    terms = (term for term, code in ANATOMY.items() if code == sought)
    synonyms = (term for value, term in _SYNONYMS.items() if _sct(value, "") == sought)
    return next(terms, None) or next(synonyms, None)
