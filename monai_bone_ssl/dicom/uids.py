"""Deterministic UIDs: the same input gives the same UIDs, so that sending an object twice is harmless."""

from __future__ import annotations

from uuid import UUID, uuid5

from pydicom.uid import UID

__all__ = ["derived_uid"]

# Fixed for ever: another namespace would give every report ever made another UID.
_NAMESPACE = UUID("6f1d0f0c-5c3e-5b7c-9f0e-3d0a7b0c2e51")


def derived_uid(role: str, *parts: str) -> UID:
    """UID that depends on nothing but its arguments.

    Parameters
    ----------
    role
        What the UID is for, such as ``"report"`` or ``"device"``: two roles never share a UID.
    *parts
        What it depends on, in this order.

    Returns
    -------
    UID
        ``2.25.`` and the integer of a name-based UUID (DICOM PS3.5 section B.2, RFC 9562 version 5).
    """
    return UID(f"2.25.{uuid5(_NAMESPACE, chr(10).join((role, *parts))).int}")
