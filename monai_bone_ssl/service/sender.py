"""A report to the PACS, by C-STORE or STOW-RS. Sending one twice is harmless: its UID is its content's."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE

from monai_bone_ssl.errors import ReasonCode, ServiceError
from monai_bone_ssl.service.dicomweb import DicomWeb
from monai_bone_ssl.service.settings import PacsSettings
from monai_bone_ssl.service.tls import client_context

__all__ = ["CStoreSender", "Sender", "StowSender"]

# Stored, with coercion, discarded elements or a mismatch that the receiver tolerates (PS3.4 table B.2-1).
_STORED = frozenset({0x0000, 0xB000, 0xB006, 0xB007})
_SECONDS = 30


class Sender(Protocol):
    """A way to the PACS."""

    def send(self, report: Path) -> None:
        """Send one file; a return means that the PACS has it.

        Raises
        ------
        ServiceError
            ``PACS_UNREACHABLE`` or ``PACS_REFUSED``.
        """


class CStoreSender:
    """C-STORE, one association a report.

    Parameters
    ----------
    settings
        The PACS.

    Raises
    ------
    ConfigError
        ``INVALID_CONFIG`` where a TLS file cannot be used.
    """

    def __init__(self, settings: PacsSettings) -> None:
        self._settings = settings
        self._tls = None if settings.tls is None else (client_context(settings.tls), settings.host)
        self._ae = AE(settings.calling_ae_title)
        self._ae.connection_timeout = self._ae.acse_timeout = _SECONDS
        self._ae.dimse_timeout = self._ae.network_timeout = _SECONDS
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
            self._ae.add_requested_context(Comprehensive3DSRStorage, syntax)

    def send(self, report: Path) -> None:
        """See :class:`Sender`."""
        dataset = _read(report)
        pacs = self._settings
        association = self._ae.associate(pacs.host, pacs.port, ae_title=pacs.ae_title, tls_args=self._tls)
        if not association.is_established:
            if association.is_rejected or association.rejected_contexts:
                text = f"{pacs.ae_title}: rejects the association, or Comprehensive 3D SR in it"
                raise ServiceError(ReasonCode.PACS_REFUSED, text)
            raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{pacs.ae_title}: no association")
        try:
            status = association.send_c_store(dataset)
        except ValueError as error:  # no presentation context for it
            raise ServiceError(
                ReasonCode.PACS_REFUSED, f"{pacs.ae_title}: does not take Comprehensive 3D SR"
            ) from error
        except RuntimeError as error:  # the association ended between
            raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{pacs.ae_title}: association lost") from error
        finally:
            association.release()
        if "Status" not in status:
            raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{pacs.ae_title}: no answer to C-STORE")
        if status.Status not in _STORED:
            text = f"{pacs.ae_title}: C-STORE answered {status.Status:04X}"
            raise ServiceError(ReasonCode.PACS_REFUSED, text)


class StowSender:
    """STOW-RS.

    Parameters
    ----------
    web
        The DICOMweb server.
    """

    def __init__(self, web: DicomWeb) -> None:
        self._web = web

    def send(self, report: Path) -> None:
        """See :class:`Sender`."""
        self._web.store(_read(report))


def _read(report: Path) -> Dataset:
    try:
        return dcmread(report)
    except OSError as error:
        text = f"{report.name}: the report is gone from the spool"
        raise ServiceError(ReasonCode.REPORT_FAILED, text) from error
