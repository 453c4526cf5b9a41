"""What was put right or left out while a file was read, said with the answer for the sender to mend."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Note", "NoteCode"]


class NoteCode(StrEnum):
    """Stable, machine-readable kinds of notes. Texts may be improved, codes may not change."""

    BODY_PART = "body_part"
    COLLIMATION = "collimation"
    INVALID_VALUE = "invalid_value"
    CHARACTER_SET = "character_set"
    PHOTOMETRIC_INTERPRETATION = "photometric_interpretation"
    OFFSET_TABLE = "offset_table"
    EXCESS_PIXEL_DATA = "excess_pixel_data"
    OUTSIDE_EXPOSED_FIELD = "outside_exposed_field"
    RESCALE = "rescale"
    VOI_LUT = "voi_lut"
    WINDOW = "window"


class Note(msgspec.Struct, frozen=True):
    """Fault of a file that was put right while the file was read, or part of its image that was left out."""

    code: NoteCode
    text: str
    """One line in words, without patient data: what is wrong, and what was done about it."""
