"""What was put right while an image was read: said with the answer, so that the sender can mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Note", "NoteCode"]


class NoteCode(StrEnum):
    """Stable, machine-readable kinds of notes. Texts may be improved, codes may not change."""

    BODY_PART = "body_part"
    CHARACTER_SET = "character_set"
    PHOTOMETRIC_INTERPRETATION = "photometric_interpretation"
    OFFSET_TABLE = "offset_table"
    EXCESS_PIXEL_DATA = "excess_pixel_data"
    RESCALE = "rescale"
    VOI_LUT = "voi_lut"
    WINDOW = "window"


@dataclass(frozen=True)
class Note:
    """Something wrong in a file that was read nevertheless."""

    code: NoteCode
    text: str
    """One line: what is wrong and what was done about it. Never patient data."""
