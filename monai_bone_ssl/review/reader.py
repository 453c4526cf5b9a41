"""The reader: name and organization as DICOM holds them, and a name for files."""

from __future__ import annotations

import hashlib
import re

import msgspec

from monai_bone_ssl.errors import ConfigError, ReasonCode

__all__ = ["Reader"]

_LONGEST = 64  # characters in a component group of VR PN, and in VR LO


class Reader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person who reads images.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where the name is empty, or name or organization is longer than DICOM allows or has
        a character that DICOM cannot hold.
    """

    name: str
    """Name, plain or as a DICOM person name, ``Family^Given``."""
    organization: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip(" ^") or "=" in self.name or self.name.count("^") > 4:
            text = "the reader's name: expected a name, such as Family^Given"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)
        for value in (self.name, self.organization):
            if len(value) > _LONGEST or "\\" in value or not value.isprintable():
                text = f"the reader's name and organization: expected {_LONGEST} characters, no backslash"
                raise ConfigError(ReasonCode.INVALID_CONFIG, text)

    @property
    def person_name(self) -> str:
        """Name as a DICOM person name; a caret after a plain name says that it has no other part."""
        return self.name if "^" in self.name else f"{self.name}^"

    def require_organization(self) -> None:
        """Refuse a reader without an organization, which DICOM asks a verified report to name.

        Raises
        ------
        ConfigError
            ``INVALID_CONFIG``.
        """
        if not self.organization.strip():
            text = f"reader {self.name}: expected an organization, which a verified report has to name"
            raise ConfigError(ReasonCode.INVALID_CONFIG, text)

    @property
    def file_name(self) -> str:
        """Name of the reader's files, in ASCII letters; two readers never share one."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.casefold()).strip("-")[:32] or "reader"
        return f"{slug}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"
