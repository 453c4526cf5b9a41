"""A study's results to the PACS, by C-STORE or STOW-RS. Twice is harmless: a UID is its content's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from monai_bone_ssl.errors import ReasonCode, ServiceError
from monai_bone_ssl.service.dicomweb import DicomWeb
from monai_bone_ssl.service.settings import PacsSettings
from monai_bone_ssl.service.tls import client_context

__all__ = ["CStoreSender", "Sender", "StowSender"]

# Stored, with coercion, discarded elements or a mismatch that the receiver tolerates (PS3.4 table B.2-1).
_STORED = frozenset({0x0000, 0xB000, 0xB006, 0xB007})
_TRANSFER_SYNTAXES: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_SECONDS = 30


class Sender(Protocol):
    """A way to the PACS."""

    def send(self, files: Sequence[Path]) -> None:
        """Send a study's report and what is beside it, in this order; a return means that the PACS has all.

        Raises
        ------
        ServiceError
            ``PACS_UNREACHABLE`` or ``PACS_REFUSED``.
        """


class CStoreSender:
    """C-STORE, one association a study.

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

    def send(self, files: Sequence[Path]) -> None:
        """See :class:`Sender`."""
        datasets = [_read(file) for file in files]
        classes = dict.fromkeys(str(dataset.SOPClassUID) for dataset in datasets)
        association = self._associate([build_context(uid, _TRANSFER_SYNTAXES) for uid in classes])
        try:
            for dataset in datasets:
                self._store(dataset, association)
        finally:
            association.release()

    def _associate(self, contexts: list[PresentationContext]) -> Association:
        pacs = self._settings
        association = self._ae.associate(
            pacs.host, pacs.port, contexts, ae_title=pacs.ae_title, tls_args=self._tls
        )
        if association.is_established:
            return association
        if association.is_rejected or association.rejected_contexts:
            text = f"{pacs.ae_title}: rejects the association, or all kinds of objects in it"
            raise ServiceError(ReasonCode.PACS_REFUSED, text)
        raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{pacs.ae_title}: no association")

    def _store(self, dataset: Dataset, association: Association) -> None:
        title = self._settings.ae_title
        try:
            status = association.send_c_store(dataset)
        except ValueError as error:  # no presentation context for it
            text = f"{title}: does not take {dataset.SOPClassUID.name}"
            raise ServiceError(ReasonCode.PACS_REFUSED, text) from error
        except RuntimeError as error:  # the association ended between
            raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{title}: association lost") from error
        if "Status" not in status:
            raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{title}: no answer to C-STORE")
        if status.Status not in _STORED:
            raise ServiceError(ReasonCode.PACS_REFUSED, f"{title}: C-STORE answered {status.Status:04X}")


class StowSender:
    """STOW-RS.

    Parameters
    ----------
    web
        The DICOMweb server.
    """

    def __init__(self, web: DicomWeb) -> None:
        self._web = web

    def send(self, files: Sequence[Path]) -> None:
        """See :class:`Sender`."""
        for file in files:
            self._web.store(_read(file))


def _read(file: Path) -> Dataset:
    try:
        return dcmread(file)
    except OSError as error:
        text = f"{file.name}: is gone from the spool"
        raise ServiceError(ReasonCode.REPORT_FAILED, text) from error
