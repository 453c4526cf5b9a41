"""The way to the archive: how reports are sent, and what its answers mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydicom import Dataset

from monai_bone_ssl.errors import ReasonCode, ServiceError

__all__ = ["Archive", "Sender", "refusal"]

# Statuses of C-STORE (DICOM PS3.4 table B.2-1, PS3.7 annex C), and failure reasons of STOW-RS, which will be
# the same for this object however often it is sent: an invalid object, a SOP class that is not supported, ...
_FOR_GOOD = frozenset({0x0106, 0x0117, 0x0119, 0x0120, 0x0121, 0x0122})
# ... and two ranges: the data set does not match its SOP class; it cannot be understood.
_FOR_GOOD_RANGES = (range(0xA900, 0xAA00), range(0xC000, 0xD000))


class Sender(Protocol):
    """A way to the archive."""

    def send(self, objects: Sequence[Dataset]) -> None:
        """Send a study's report and its evidence objects, in this order; on return the archive took them all.

        Sending twice is harmless: the UID of an object depends on its content.

        Raises
        ------
        ServiceError
            ``PACS_UNREACHABLE`` or ``PACS_REFUSED``, which may pass; ``REPORT_REFUSED``, which will not.
        """


class Archive(Protocol):
    """An archive that can be asked what it holds."""

    def holds(self, objects: Sequence[Dataset]) -> bool:
        """Whether the archive has all of some objects.

        Raises
        ------
        ServiceError
            ``PACS_UNREACHABLE`` or ``PACS_REFUSED``.
        """


def refusal(status: int, text: str) -> ServiceError:
    """Error for the status with which an archive refuses an object.

    Parameters
    ----------
    status
        Status of C-STORE, or failure reason of STOW-RS.
    text
        One line for the error.
    """
    is_for_good = status in _FOR_GOOD or any(status in statuses for statuses in _FOR_GOOD_RANGES)
    return ServiceError(ReasonCode.REPORT_REFUSED if is_for_good else ReasonCode.PACS_REFUSED, text)
