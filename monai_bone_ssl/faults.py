"""Programming errors without their messages, which may quote a patient's data from a header."""

from __future__ import annotations

import traceback
from types import TracebackType

from monai_bone_ssl.errors import BoneSSLError, ReasonCode, ReportError

__all__ = ["WithoutMessage", "fault_place"]

_FRAMES = 3


def fault_place(trace: TracebackType | None) -> str:
    """Where an exception was raised, innermost frame first: ``decode:41 < read:17 < main:80``."""
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))


class WithoutMessage:
    """A block that turns unforeseen exceptions into an error with their type and place only.

    Errors of this package pass unchanged: their texts hold no patient data.

    Raises
    ------
    ReportError
        ``REPORT_FAILED`` in place of any other exception.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not issubclass(kind, Exception) or isinstance(error, BoneSSLError):
            return
        text = f"unforeseen {kind.__name__} in {fault_place(trace)}; the run is stopped"
        raise ReportError(ReasonCode.REPORT_FAILED, text) from None
