"""DIMSE out: reports leave by C-STORE, over TLS where it is set up."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from monai_bone_ssl.errors import ReasonCode, ServiceError
from monai_bone_ssl.service.delivery import refusal
from monai_bone_ssl.service.settings import PacsSettings
from monai_bone_ssl.service.tls import client_tls

__all__ = ["CStoreSender"]

# Answers of C-STORE (DICOM PS3.4 table B.2-1) of a PACS that keeps the object: success, also with coercion,
# discarded elements, or another mismatch.
_STORED = frozenset({0x0000, 0xB000, 0xB006, 0xB007})
_REPORT_SYNTAXES: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_TIMEOUT_SECONDS = 30


class CStoreSender:
    """A way to the PACS by C-STORE, with one association a study.

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
        self._tls = None if settings.tls is None else (client_tls(settings.tls), settings.host)
        self._ae = AE(settings.calling_ae_title)
        self._ae.connection_timeout = self._ae.acse_timeout = _TIMEOUT_SECONDS
        self._ae.dimse_timeout = self._ae.network_timeout = _TIMEOUT_SECONDS

    def send(self, objects: Sequence[Dataset]) -> None:
        """Send objects, see :class:`monai_bone_ssl.service.delivery.Sender`."""
        classes = dict.fromkeys(str(dataset.SOPClassUID) for dataset in objects)
        association = self._associate([build_context(uid, _REPORT_SYNTAXES) for uid in classes])
        try:
            for dataset in objects:
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
        except ValueError as error:  # no presentation context was accepted for this class
            text = f"{title}: does not take {dataset.SOPClassUID.name}"
            raise ServiceError(ReasonCode.PACS_REFUSED, text) from error
        except RuntimeError as error:  # the association has ended since the last object
            raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{title}: association lost") from error
        if "Status" not in status:
            raise ServiceError(ReasonCode.PACS_UNREACHABLE, f"{title}: no answer to C-STORE")
        if status.Status not in _STORED:
            raise refusal(status.Status, f"{title}: C-STORE answered {status.Status:04X}")
